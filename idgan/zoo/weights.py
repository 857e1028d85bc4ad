"""A checkpoint is one self-describing safetensors file: VAE, EMA generator, a bank of posteriors, goldens, and a JSON config in its metadata."""

import json

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from idgan.errors import CheckpointError, InvalidInputError
from idgan.files import write_atomically
from idgan.networks import ModelConfig, Posterior
from idgan.sampler import Sampler

__all__ = ["FORMAT", "golden_differences", "read_checkpoint", "write_checkpoint"]

FORMAT = "idgan-1"
GOLDENS = ("c", "s", "images", "decoded", "mean")
GOLDEN_COUNT = 4


def write_checkpoint(path, sampler):
    """Write `sampler` to `path` atomically, in float32, with golden vectors: `GOLDEN_COUNT` draws with seed 0, and what each network makes of them.

    `sampler.info` (a JSON-able dict) goes along. Returns the path.
    """
    sampler = Sampler(sampler.config, sampler.vae, sampler.generator, sampler.bank, sampler.info).float()
    tensors = {f"{part}.{name}": tensor for part in ("vae", "generator") for name, tensor in getattr(sampler, part).state_dict().items()}
    tensors |= {"bank.mean": sampler.bank.mean, "bank.logvar": sampler.bank.logvar}
    c, s = sampler.codes(GOLDEN_COUNT, seed=0)
    tensors |= {f"golden.{name}": value for name, value in zip(GOLDENS, (c, s, *golden_outputs(sampler, c, s, None)))}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "config": json.dumps(sampler.config.to_dict()), "info": json.dumps(sampler.info)}
    return write_atomically(path, safetensors.torch.save(tensors, metadata))


def golden_outputs(sampler, c, s, images):
    """What the three networks make of `c`, `s` and, for the encoder, of `images` (None: the generator's own)."""
    made = sampler.sample(c, s)
    return made, sampler.decode(c), sampler.posterior(made if images is None else images).mean


def read_checkpoint(path):
    """The `Sampler` in the file at `path`, on the CPU in float32, ready to use.

    Nothing in the file is trusted: it is not a pickle, its keys, shapes, dtypes and values are checked before a network is made of them.

    Raises:
        CheckpointError: the file is malformed; the message says what is wrong with it.
        FileNotFoundError: there is no such file.
    """
    tensors, metadata = _read(path)
    try:
        config = ModelConfig.from_dict(json.loads(metadata["config"]))
        info = json.loads(metadata["info"])
        with torch.device("meta"):  # shapes only: no memory is taken for what a hostile config claims
            vae, generator = config.vae.build(), config.generator.build()
    except (KeyError, ValueError, InvalidInputError, RecursionError) as error:
        raise CheckpointError(f"{path}: its metadata does not describe an idgan model ({error})") from error
    if not isinstance(info, dict):
        raise CheckpointError(f"{path}: its info must be an object")
    expected = {f"vae.{name}": tensor.shape for name, tensor in vae.state_dict().items()}
    expected |= {f"generator.{name}": tensor.shape for name, tensor in generator.state_dict().items()}
    bank = (len(tensors.get("bank.mean", ())), config.c_dim)
    expected |= {"bank.mean": torch.Size(bank), "bank.logvar": torch.Size(bank)}
    _check_tensors(path, {name: tensor for name, tensor in tensors.items() if not name.startswith("golden.")}, expected)
    vae.load_state_dict(_part(tensors, "vae."), assign=True)
    generator.load_state_dict(_part(tensors, "generator."), assign=True)
    return Sampler(config, vae, generator, Posterior(tensors["bank.mean"], tensors["bank.logvar"]), info)


def golden_differences(path, device="cpu"):
    """The largest absolute difference between each golden output in the file and what its networks compute on `device` now.

    Returns:
        {"images", "decoded", "mean"} -> float: pixels in [0, 1], and units of the code.

    Raises:
        CheckpointError: the file is malformed or has no goldens.
    """
    sampler = read_checkpoint(path).to(device)
    tensors, _ = _read(path)
    goldens = _part(tensors, "golden.")
    shapes = {"c": (sampler.c_dim,), "s": (sampler.s_dim,), "mean": (sampler.c_dim,)}
    shapes |= {"images": (sampler.image_channels, sampler.resolution, sampler.resolution)}
    shapes |= {"decoded": (sampler.image_channels, sampler.vae.config.resolution, sampler.vae.config.resolution)}
    _check_tensors(path, goldens, {name: torch.Size((GOLDEN_COUNT, *shapes[name])) for name in GOLDENS})
    outputs = golden_outputs(sampler, goldens["c"], goldens["s"], goldens["images"])
    return {name: (goldens[name] - output.cpu()).abs().max().item() for name, output in zip(GOLDENS[2:], outputs)}


def _read(path):
    """All tensors and the metadata of an idgan safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(f"{path} is not an idgan checkpoint (format {metadata.get('format')!r}, not {FORMAT!r})")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (safe_open is not a dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _part(tensors, prefix):
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _check_tensors(path, tensors, expected):
    if tensors.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise CheckpointError(f"{path}: tensors missing: {missing[:5] or 'none'}; not expected: {surplus[:5] or 'none'}")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or tensor.shape != expected[name]:
            shape = tuple(expected[name])
            raise CheckpointError(f"{path}: {name} must be float32 {shape}, found {tensor.dtype} {tuple(tensor.shape)}")
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
    if "bank.mean" in tensors and not len(tensors["bank.mean"]):
        raise CheckpointError(f"{path}: its bank of posteriors is empty")
