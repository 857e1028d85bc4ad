"""The VAE that stage 1 hands to stage 2, from this run, another run, or a checkpoint."""

import copy
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from idgan.errors import InvalidInputError, RunError
from idgan.networks.protocols import Network
from idgan.training.checkpoint import STATE_FILE, load_state, read_settings, step_of
from idgan.zoo import load
from idgan.zoo.models import local_path
from idgan.zoo.weights import part_of

__all__ = ["load_pretrained_vae", "state_dict_sha256", "trained_vae", "untrained_parts"]


def trained_vae(run: Path, steps: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The result of `steps` steps of stage 1 in the run directory `run`: the selected weights, or the last if none were
    selected.

    Returns:
        (state dict of the VAE, what stage 1 did). The latter has "steps", "seconds", and for selected weights
        "selected_step" and "selection_score".

    Raises:
        RunError: stage 1 is not finished, or its state is damaged.
    """
    path = run / "vae" / STATE_FILE
    if (step := step_of(path)) < steps:
        raise RunError(f"stage 1 in {run} is at step {step} of {steps}; finish it first (--stage vae)")
    state = load_state(path)
    try:
        history = {"steps": state["step"], "seconds": round(state["seconds"])}
        best = state["best"]
        if best["weights"]:
            return best["weights"], history | {"selected_step": best["step"], "selection_score": best["score"]}
        return part_of(state["objective"], "vae."), history
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is not a state of stage 1 ({error!r}); delete it to start this stage again") from error


def load_pretrained_vae(vae: nn.Module, where: str | Path) -> dict[str, Any]:
    """Fill `vae` with the weights of another VAE.

    Args:
        where: anything `idgan.load` takes, or a run directory with a finished stage 1.

    Returns:
        What stage 1 did there, if that is known: steps, seconds, and `where` as "from".

    Raises:
        InvalidInputError: that VAE has other shapes, or its encoder is untrained.
        RunError: its stage 1 is not finished.
        UnknownModelError, NotTrainedError, HubError, CheckpointError: as `idgan.load`.
    """
    run = local_path(where)
    if run is not None and (run / "vae" / STATE_FILE).exists():
        steps = read_settings(run).get("vae_stage.steps")
        if not isinstance(steps, int):
            raise RunError(
                f"{run} has a state of stage 1, but its settings have no vae_stage.steps; choose another run"
            )
        weights, history = trained_vae(run, steps)
    else:
        sampler = load(where, device="cpu")
        if "encoder" in sampler.untrained:
            raise InvalidInputError(
                f"the encoder of {where} is untrained, because method {sampler.record.method!r} does not train it"
            )
        pretrained: Any = sampler.vae
        weights, history = pretrained.state_dict(), dict(sampler.record.stages.get("vae", {}))
    shapes, expected = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (weights, vae.state_dict())
    )
    if shapes != expected:
        raise InvalidInputError(f"the VAE of {where} has other shapes than the recipe's {vae.config}")
    vae.load_state_dict(weights)
    return {"steps": 0, "seconds": 0, **history, "from": str(where)}


def state_dict_sha256(network: Network) -> str:
    """Hex sha256 of the weights of `network`."""
    state = network.state_dict().values()
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in state)).hexdigest()


def untrained_parts(vae: Any, fresh: nn.Module, trained: Iterable[nn.Parameter]) -> tuple[str, ...]:
    """The parts of `vae`, "encoder" and "decoder", that still have random weights.

    A VAE without `decode` has an untrained decoder.

    Args:
        vae: the VAE after training.
        fresh: another VAE of the same config with other random weights. Weights that it shares with `vae` are not
            random.
        trained: parameters that training moved.
    """
    moved = set(map(id, trained))
    initial = dict(fresh.named_parameters())
    random = {
        name
        for name, parameter in vae.named_parameters()
        if id(parameter) not in moved and not torch.equal(parameter.detach().cpu(), initial[name].detach().cpu())
    }
    used = _parameters_of_parts(vae)
    return tuple(part for part, names in used.items() if names is None or random & names)


def _parameters_of_parts(vae: Any) -> dict[str, set[str] | None]:
    """Part of `vae` -> names of the parameters that it computes with. None for a part that does not exist."""
    config, device = vae.config, next(iter(vae.state_dict().values())).device
    vae = copy.deepcopy(vae).eval().requires_grad_(True)
    parameters = dict(vae.named_parameters())

    def reached(output: Tensor) -> set[str]:
        if not output.requires_grad:
            return set()
        gradients = torch.autograd.grad(output, list(parameters.values()), allow_unused=True)
        return {name for name, gradient in zip(parameters, gradients) if gradient is not None}

    posterior = vae.encode(torch.zeros(1, config.image_channels, config.resolution, config.resolution, device=device))
    decoder = None
    if hasattr(vae, "decode"):
        decoder = reached(vae.decode(torch.zeros(1, config.c_dim, device=device)).sum())
    return {"encoder": reached(posterior.mean.sum() + posterior.logvar.sum()), "decoder": decoder}
