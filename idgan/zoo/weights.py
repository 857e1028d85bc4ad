"""A checkpoint is one self-describing safetensors file: VAE, EMA generator, a bank of posteriors, goldens, and its config as metadata."""

import copy
import json

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from idgan.errors import CheckpointError
from idgan.files import write_atomically
from idgan.images import encoder_view
from idgan.networks import ModelConfig, Posterior
from idgan.sampler import Sampler

__all__ = [
    "CHECKPOINT_FILE",
    "FORMAT",
    "check_tensors",
    "golden_differences",
    "part_of",
    "read_checkpoint",
    "write_checkpoint",
]

FORMAT = "idgan-1"
CHECKPOINT_FILE = "model.safetensors"
"""The file's name in a run directory and in a hub repository."""
GOLDENS = ("c", "s", "images", "decoded", "mean")
GOLDEN_COUNT = 4


def write_checkpoint(path, sampler):
    """Write `sampler` to `path` atomically, in float32, with goldens: `GOLDEN_COUNT` draws by seed 0 and what each network makes of them.

    `sampler.info` (a JSON-able dict) goes along. Equal samplers make equal files. Returns the path.
    """
    sampler = copy.deepcopy(sampler).float()
    tensors = {
        f"{part}.{name}": tensor
        for part in ("vae", "generator")
        for name, tensor in getattr(sampler, part).state_dict().items()
    }
    tensors |= {"bank.mean": sampler.bank.mean, "bank.logvar": sampler.bank.logvar}
    c, s = sampler.codes(GOLDEN_COUNT, seed=0)
    tensors |= {f"golden.{name}": value for name, value in zip(GOLDENS, (c, s, *golden_outputs(sampler, c, s)))}
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": FORMAT, "config": json.dumps(sampler.config.to_dict()), "info": json.dumps(sampler.info)}
    return write_atomically(path, _in_order(safetensors.torch.save(tensors, metadata)))


def _in_order(content):
    """The bytes of a safetensors file with its header sorted: the library writes metadata in random order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


@torch.no_grad()
def golden_outputs(sampler, c, s, images=None):
    """What generator and decoder make of codes `c`, `s`, and the encoder of `images` (None: the generator's own): images, decoded, mean."""
    made = sampler(c, s)
    x = made if images is None else images
    decoded = sampler.vae.decode(c.to(sampler.device, sampler.dtype))  # an untrained decoder is part of the file, too
    return made, decoded, sampler.vae.encode(encoder_view(x.to(sampler.device), sampler.vae.config.resolution)).mean


def read_checkpoint(path):
    """The `Sampler` in the file at `path`, on the CPU in float32, ready to use.

    Nothing in the file is trusted: it is not a pickle, its keys, shapes, dtypes and values are checked before a network is made of them.

    Raises:
        CheckpointError: the file is malformed; the message says what is wrong with it.
        FileNotFoundError: there is no such file.
    """
    return _build(path, *_read(path))


def golden_differences(path, device="cpu"):
    """The largest absolute difference between each golden output in the file and what its networks compute on `device` now.

    Returns:
        {"images", "decoded", "mean"} -> float: pixels in [0, 1], and units of the code.

    Raises:
        CheckpointError: the file is malformed or has no goldens.
    """
    tensors, metadata = _read(path)
    sampler = _build(path, tensors, metadata).to(device)
    goldens = part_of(tensors, "golden.")
    shapes = {"c": (sampler.c_dim,), "s": (sampler.s_dim,), "mean": (sampler.c_dim,)}
    shapes |= {"images": (sampler.image_channels, sampler.resolution, sampler.resolution)}
    shapes |= {"decoded": (sampler.image_channels, sampler.vae.config.resolution, sampler.vae.config.resolution)}
    check_tensors(path, goldens, {name: (GOLDEN_COUNT, *shapes[name]) for name in GOLDENS})
    outputs = golden_outputs(sampler, goldens["c"], goldens["s"], goldens["images"])
    return {name: (goldens[name] - output.cpu()).abs().max().item() for name, output in zip(GOLDENS[2:], outputs)}


def _read(path):
    """All tensors and the metadata of an idgan safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path} is not an idgan checkpoint (format {metadata.get('format')!r:.100}, not {FORMAT!r})"
                )
            # Copied: what safe_open returns is mapped from the file, and someone who overwrites that in place would take the process down.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, metadata  # noqa: SIM118 (safe_open is not a dict)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _build(path, tensors, metadata):
    """The `Sampler` that `tensors` and `metadata` of the file at `path` describe, after checking them."""
    try:
        config, info = ModelConfig.from_dict(json.loads(metadata["config"])), json.loads(metadata["info"])
        if not isinstance(info, dict):
            raise ValueError("info must be an object")
    except (KeyError, ValueError, RecursionError) as error:  # InvalidInputError is a ValueError
        raise CheckpointError(f"{path}: its metadata does not describe an idgan model ({error})") from error
    with torch.device("meta"):  # shapes only: no memory is taken for what a hostile config claims
        networks = {"vae": config.vae.build(), "generator": config.generator.build()}
    expected = {
        f"{part}.{name}": tensor.shape
        for part, network in networks.items()
        for name, tensor in network.state_dict().items()
    }
    bank = Posterior(tensors.get("bank.mean"), tensors.get("bank.logvar"))
    rows = 0 if bank.mean is None else bank.mean.shape[:1].numel()
    expected |= {"bank.mean": (rows, config.c_dim), "bank.logvar": (rows, config.c_dim)}
    check_tensors(path, {name: tensor for name, tensor in tensors.items() if not name.startswith("golden.")}, expected)
    if rows == 0:
        raise CheckpointError(f"{path}: its bank of posteriors is empty")
    for part, network in networks.items():
        network.load_state_dict(part_of(tensors, f"{part}."), assign=True)
    return Sampler(config, **networks, bank=bank, info=info)


def part_of(tensors, prefix):
    """Those of `tensors` (name -> tensor) whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def check_tensors(path, tensors, expected):
    """Hold `tensors` to `expected`, name -> shape: all of them and no other, float32 and finite."""
    if tensors.keys() != expected.keys():
        missing, surplus = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
        raise CheckpointError(
            f"{path}: tensors missing: {missing[:5] or 'none'}; not expected: {surplus[:5] or 'none'}"
        )
    for name, tensor in tensors.items():
        found, shape = tuple(tensor.shape), tuple(expected[name])
        if tensor.dtype != torch.float32 or found != shape:
            raise CheckpointError(f"{path}: {name} must be float32 {shape}, found {tensor.dtype} {found}")
        if not tensor.isfinite().all():
            raise CheckpointError(f"{path}: {name} has values that are not finite")
