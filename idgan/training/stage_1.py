"""What stage 1 leaves for stage 2: a VAE, from this run, another run, or a checkpoint."""

import hashlib
from pathlib import Path

from idgan.errors import InvalidInputError, RunError
from idgan.training.checkpoint import load_state, read_settings, step_of
from idgan.zoo import list_models, resolve
from idgan.zoo.weights import part_of, read_checkpoint

__all__ = ["STATE_FILE", "load_pretrained_vae", "state_dict_sha256", "trained_vae"]

STATE_FILE = "state.safetensors"


def trained_vae(run, steps):
    """The result of `steps` steps of stage 1 in the run directory `run`: the selected weights, or the last if it never came to a selection.

    Returns:
        (state dict of the VAE, what stage 1 did: steps, seconds, and for selected weights their step and score).

    Raises:
        RunError: stage 1 has not come to its end.
    """
    path = run / "vae" / STATE_FILE
    if (step := step_of(path)) < steps:
        raise RunError(f"stage 1 in {run} is at step {step} of {steps}; finish it first (--stage vae)")
    state = load_state(path)
    history = {"steps": state["step"], "seconds": round(state["seconds"])}
    best = state["best"]
    if best["weights"]:
        return best["weights"], history | {"selected_step": best["step"], "selection_score": best["score"]}
    return part_of(state["objective"], "vae."), history


def load_pretrained_vae(vae, where):
    """Fill `vae` with the weights of the VAE at `where`: anything `idgan.load` takes, or a run directory whose stage 1 is finished.

    Returns:
        What stage 1 did there, as far as that is known: steps, seconds, and `where` as "from".

    Raises:
        InvalidInputError: that VAE has other shapes, or its encoder is untrained.
        RunError: its stage 1 has not come to its end.
        UnknownModelError, NotTrainedError, HubError, CheckpointError: as `idgan.load`.
    """
    run = Path(where)
    if str(where) not in list_models() and (run / "vae" / STATE_FILE).exists():
        weights, history = trained_vae(run, read_settings(run)["vae_stage.steps"])
    else:
        sampler = read_checkpoint(resolve(where).path)
        if "encoder" in sampler.untrained:
            raise InvalidInputError(
                f"the encoder of {where} has not been trained: its method, {sampler.record.method}, has no use of one"
            )
        weights, history = sampler.vae.state_dict(), sampler.record.stages.get("vae", {})
    shapes, there = (
        {name: tuple(tensor.shape) for name, tensor in state.items()} for state in (vae.state_dict(), weights)
    )
    if shapes != there:
        raise InvalidInputError(f"the VAE of {where} has other shapes than the recipe's, {vae.config}")
    vae.load_state_dict(weights)
    return {"steps": 0, "seconds": 0, **history, "from": str(where)}


def state_dict_sha256(vae):
    """Hex sha256 of the weights of `vae`."""
    return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in vae.state_dict().values())).hexdigest()
