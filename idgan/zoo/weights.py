"""The checkpoint: a safetensors file with networks, bank of posteriors, golden outputs, config and training record."""

import copy
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from idgan.errors import CheckpointError, CorruptWeightsError, InvalidInputError
from idgan.files import write_atomically
from idgan.images import encoder_view
from idgan.networks import ModelConfig, Posterior
from idgan.record import TrainingRecord
from idgan.sampler import Sampler
from idgan.zoo.download import describe_fault, find_fault
from idgan.zoo.tensors import DTYPES, Spec, check_specs, check_tensors, check_values
from idgan.zoo.untrusted import printable

__all__ = [
    "CHECKPOINT_FILE",
    "FORMAT",
    "CheckpointFile",
    "build_sampler",
    "build_without_memory",
    "checkpoint_bytes",
    "golden_differences",
    "part_of",
    "read_checkpoint",
    "read_file",
    "with_info",
    "write_checkpoint",
]

FORMAT = "idgan-1"
CHECKPOINT_FILE = "model.safetensors"
"""Name of the checkpoint file in a run directory and in a hub repository."""
GOLDEN_COUNT = 4

MAX_HEADER_BYTES = 8 << 20
MAX_PARAMETER_BYTES = 32 << 30
MAX_RESOLUTION = 4096
MAX_HOLLOW_BYTES = 1 << 28
"""A larger file must have at least a quarter of its bytes on disk."""


@dataclass(frozen=True)
class CheckpointFile:
    """The content of a checkpoint file. Its header has been checked, its values have not."""

    path: Path
    sha256: str
    data: bytes = field(repr=False)
    config: ModelConfig
    info: dict[str, Any] = field(repr=False)
    specs: dict[str, Spec] = field(repr=False)


# ------------------------------------------------------------------ writing


def write_checkpoint(path: str | os.PathLike[str], sampler: Sampler) -> Path:
    """Write `checkpoint_bytes(sampler)` to `path`, atomically.

    Raises:
        CheckpointError, InvalidInputError: as in `checkpoint_bytes`.
        OSError: the file cannot be written.
    """
    return write_atomically(path, checkpoint_bytes(sampler, path))


def checkpoint_bytes(sampler: Sampler, path: str | os.PathLike[str] = CHECKPOINT_FILE) -> bytes:
    """The checkpoint file of `sampler` and its `info` (a JSON-able dict), in float32.

    Equal samplers make equal files. The file also holds golden outputs: what the networks compute for `GOLDEN_COUNT`
    codes drawn with seed 0. `path` is where the file will be, for messages.

    Raises:
        CheckpointError: a weight is not finite or far too large.
        InvalidInputError: a network's config is not registered.
    """
    sampler = copy.deepcopy(sampler).float()
    parts = sampler.config.parts
    tensors = {f"{part}.{name}": t for part in parts for name, t in getattr(sampler, part).state_dict().items()}
    tensors |= {"bank.mean": sampler.bank.mean, "bank.logvar": sampler.bank.logvar}
    c, s = sampler.codes(GOLDEN_COUNT, seed=0)
    goldens = {"c": c, "s": s, **_golden_outputs(sampler, c, s)}
    tensors |= {f"golden.{name}": tensor for name, tensor in goldens.items()}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    check_values(path, tensors)
    return _to_bytes(tensors, sampler.config, sampler.info)


def with_info(file: CheckpointFile, info: dict[str, Any]) -> bytes:
    """The content of the checkpoint `file` with another `info`. All tensors keep their bits."""
    return _to_bytes(_read_tensors(file), file.config, info)


def _to_bytes(tensors: dict[str, torch.Tensor], config: ModelConfig, info: dict[str, Any]) -> bytes:
    metadata = {"format": FORMAT, "config": json.dumps(config.to_dict()), "info": json.dumps(info)}
    return _with_sorted_header(safetensors.torch.save(tensors, metadata))


def _with_sorted_header(content: bytes) -> bytes:
    """A safetensors file with its header sorted. The library writes metadata in random order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


@torch.no_grad()
def _golden_outputs(
    sampler: Sampler, c: torch.Tensor, s: torch.Tensor, images: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Outputs of the networks for codes `c` and `s`: "images", "decoded" (if the VAE has a decoder), "mean", "s_mean".

    "mean" is the encoder's output for `images`, and "s_mean" that of the nuisance encoder (if there is one). By default
    these are the generator's own images.
    """
    outputs = {"images": sampler(c, s)}
    if _has_decoder(sampler.vae):  # an untrained decoder is part of the file, too
        outputs["decoded"] = sampler.vae.decode(c.to(sampler.device, sampler.dtype))
    x = outputs["images"] if images is None else images
    for name, part in (("mean", "vae"), ("s_mean", "nuisance_encoder")):
        if part in sampler.config.parts:
            view = encoder_view(x.to(sampler.device), getattr(sampler.config, part).resolution)
            outputs[name] = getattr(sampler, part).encode(view).mean
    return outputs


def _has_decoder(vae: object) -> bool:
    return callable(getattr(vae, "decode", None))


# ------------------------------------------------------------------ reading


def read_checkpoint(path: str | os.PathLike[str]) -> Sampler:
    """The `Sampler` in the file at `path`, on the CPU in float32.

    The file is not trusted. It is no pickle, and its keys, shapes, dtypes and values are checked before a network gets
    them.

    Raises:
        CheckpointError: the file is malformed. The message says what is wrong.
        FileNotFoundError: there is no such file.
    """
    return build_sampler(read_file(path))


def read_file(path: str | os.PathLike[str], sha256: str | None = None, bytes: int | None = None) -> CheckpointFile:
    """Read the checkpoint file at `path` once, and check its header before its tensors are read.

    Args:
        sha256, bytes: expected hash and size, if known.

    Raises:
        CorruptWeightsError: hash or size differ from what is expected.
        CheckpointError: the file is malformed.
        FileNotFoundError: there is no such file.
    """
    path = Path(path)
    if path.exists() and not path.is_file():  # a device or a pipe could be read without end
        raise CheckpointError(f"{printable(path)} is not a file")
    if sha256 is not None and not path.exists():
        _raise_corrupt(path, find_fault(path, sha256, bytes))
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        size = status.st_size
        if bytes not in (None, size):
            _raise_corrupt(path, find_fault(path, sha256, bytes))
        try:
            head, config, info, specs = _read_header(path, file, size)
        except CheckpointError:
            if (sha256 or bytes is not None) and (fault := find_fault(path, sha256, bytes)):
                _raise_corrupt(path, fault)
            raise
        if _is_hollow(status):
            raise CheckpointError(f"{printable(path)} is hollow: most of its {size:,} bytes are not on disk")
        data = head + file.read(size - len(head))
    digest = hashlib.sha256(data).hexdigest()
    if fault := describe_fault(data, len(data), digest, sha256, bytes):
        _raise_corrupt(path, fault)
    return CheckpointFile(path, digest, data, config, info, specs)


def _is_hollow(status: os.stat_result) -> bool:
    """Whether a large file is mostly holes: it would take gigabytes of memory.

    Some file systems report no blocks at all, which says nothing.
    """
    on_disk = 512 * getattr(status, "st_blocks", 0)
    return status.st_size > MAX_HOLLOW_BYTES and 0 < on_disk < status.st_size // 4


def _raise_corrupt(path: Path, fault: str | None) -> NoReturn:
    raise CorruptWeightsError(f"{path.name} is not what was promised: {fault} ({printable(path)}).")


def build_sampler(file: CheckpointFile) -> Sampler:
    """A new `Sampler` with the networks of `file`, on the CPU in float32.

    Raises:
        CheckpointError: tensors do not fit the config, or hold absurd values.
    """
    return _build_sampler(file, _read_tensors(file))


def golden_differences(file: CheckpointFile | str | os.PathLike[str]) -> dict[str, float]:
    """Largest absolute difference between each golden output in `file` and what its networks compute now, on the CPU.

    Returns:
        "images", "decoded" (if the VAE has a decoder), "mean" and "s_mean" (if there is a nuisance encoder) ->
        difference. Units are pixels in [0, 1], and those of c and s.

    Raises:
        CheckpointError: the file is malformed or has no golden outputs.
    """
    file = file if isinstance(file, CheckpointFile) else read_file(file)
    tensors = _read_tensors(file)
    goldens = part_of(tensors, "golden.")
    if not goldens:
        raise CheckpointError(f"{printable(file.path)}: it has no golden outputs to compare with")
    outputs = _golden_outputs(_build_sampler(file, tensors), goldens["c"], goldens["s"], goldens["images"])
    return {name: (goldens[name] - output).abs().max().item() for name, output in outputs.items()}


def _read_tensors(file: CheckpointFile) -> dict[str, torch.Tensor]:
    """The tensors of `file`, by name, checked."""
    try:
        tensors = safetensors.torch.load(file.data)
    except SafetensorError as error:
        raise CheckpointError(f"{printable(file.path)} is not a whole safetensors file: {error}") from error
    check_tensors(file.path, tensors, file.specs)
    return tensors


def _build_sampler(file: CheckpointFile, tensors: dict[str, torch.Tensor]) -> Sampler:
    config = file.config
    networks = {part: _build_network(getattr(config, part), part_of(tensors, f"{part}.")) for part in config.parts}
    bank = Posterior(tensors["bank.mean"], tensors["bank.logvar"])
    try:
        return Sampler(config, **networks, bank=bank, info=copy.deepcopy(file.info))
    except InvalidInputError as error:
        raise CheckpointError(f"{printable(file.path)} does not describe an idgan model: {printable(error)}") from error


def _build_network(config: Any, state: dict[str, torch.Tensor]) -> nn.Module:
    """The network of `config` with the weights in `state`.

    The package's own networks are built without memory, and then get their weights. Those of other packages may have
    buffers that are not in the file, so they are built in full.
    """
    own = type(config).__module__.partition(".")[0] == __name__.partition(".")[0]
    with torch.random.fork_rng(devices=[]), torch.device("meta" if own else "cpu"):
        network: nn.Module = config.build()
    network.load_state_dict(state, assign=True)
    return network.float()


def part_of(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors with names that begin with `prefix`, by their names without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


# ------------------------------------------------------------------ the header


def _read_header(path: Path, file: BinaryIO, size: int) -> tuple[bytes, ModelConfig, dict[str, Any], dict[str, Spec]]:
    """Read and check the header of a safetensors file of `size` bytes.

    Returns:
        (bytes read so far, config, info, specs of the tensors by name).
    """
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, MAX_HEADER_BYTES):
        raise CheckpointError(
            f"{printable(path)} is not a whole safetensors file: its header cannot have {length:,} bytes"
        )
    raw = file.read(length)
    try:
        header = json.loads(raw.decode())
        metadata = header.pop("__metadata__", None) or {}
        specs = {
            name: (DTYPES.get(entry["dtype"], entry["dtype"]), tuple(map(int, entry["shape"])))
            for name, entry in header.items()
        }
        end = _end_of_tensors(header)
        file_format = metadata.get("format")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{printable(path)} is not a whole safetensors file: its header is damaged") from error
    if end != size - 8 - length:
        raise CheckpointError(
            f"{printable(path)} is not a whole safetensors file: its tensors need {end:,} bytes, it has "
            f"{size - 8 - length:,}"
        )
    if file_format != FORMAT:
        raise CheckpointError(
            f"{printable(path)} is not an idgan checkpoint (format {file_format!r:.100}, not {FORMAT!r})"
        )
    config, info, networks = _read_metadata(path, metadata)
    check_specs(path, specs, _expected_specs(path, config, networks, specs))
    return start + raw, config, info, specs


def _end_of_tensors(header: Mapping[str, Any]) -> int:
    """Number of bytes that the tensors in `header` take, one after the other.

    Raises:
        ValueError: they overlap, leave a hole, or take other bytes than their shapes need. The library checks this
            only after it has read the file, so a small file could claim gigabytes.
    """
    end = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        start, stop = entry["data_offsets"]
        size = DTYPES[entry["dtype"]].itemsize if entry["dtype"] in DTYPES else None
        if start != end or stop < start or (size is not None and stop - start != size * math.prod(entry["shape"])):
            raise ValueError("the offsets do not fit the shapes")
        end = stop
    return end


def _read_metadata(path: Path, metadata: Mapping[str, Any]) -> tuple[ModelConfig, dict[str, Any], dict[str, nn.Module]]:
    """Config and info in the `metadata` of the file at `path`, and the networks of the config without memory."""
    try:
        for key in ("config", "info"):
            if key not in metadata:
                raise ValueError(f"{key!r} is missing")
        config, info = ModelConfig.from_dict(json.loads(metadata["config"])), json.loads(metadata["info"])
        networks = build_without_memory(config)
        _check_info(info)
    except (TypeError, ValueError, RecursionError) as error:  # InvalidInputError is a ValueError
        raise CheckpointError(
            f"{printable(path)}: its metadata does not describe an idgan model ({printable(error)})"
        ) from error
    return config, info, networks


def _check_info(info: object) -> None:
    """Check the `info` of a checkpoint: an object with text as name and data, and a training record."""
    if not isinstance(info, dict):
        raise InvalidInputError("info must be an object")
    for key in ("name", "data"):
        value = info.get(key)
        if value is not None and not (isinstance(value, str) and value.isprintable()):
            raise InvalidInputError(f"info.{key} must be a line of text, got {value!r:.100}")
    TrainingRecord.from_dict(info.get("training"))


def build_without_memory(config: ModelConfig) -> dict[str, nn.Module]:
    """All networks of `config` on the meta device, which stores shapes only, and a check of their size.

    Raises:
        InvalidInputError: no machine can hold the networks or their images, or the networks cannot be built.
    """
    for part in config.parts:
        resolution = getattr(config, part).resolution
        if resolution > MAX_RESOLUTION:
            raise InvalidInputError(f"{part}.resolution must be at most {MAX_RESOLUTION}, got {resolution}")
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            networks: dict[str, nn.Module] = {part: getattr(config, part).build() for part in config.parts}
    except Exception as error:  # the code of another package may raise anything
        raise InvalidInputError(f"its networks cannot be built: {type(error).__name__}: {error}") from error
    needed = sum(p.numel() * p.element_size() for network in networks.values() for p in network.parameters())
    if needed > MAX_PARAMETER_BYTES:
        raise InvalidInputError(f"its networks need {needed:,} bytes; at most {MAX_PARAMETER_BYTES:,} are accepted")
    return networks


# ------------------------------------------------------------------ tensors


def _expected_specs(
    path: Path, config: ModelConfig, networks: Mapping[str, nn.Module], found: Mapping[str, Spec]
) -> dict[str, Spec]:
    """What a file with `config` must hold: tensor name -> spec.

    `found` gives the rows of the bank, and whether there are golden outputs. Floating point tensors are float32. Other
    tensors, such as the counters of BatchNorm, keep the type that they have in the network.
    """
    expected: dict[str, Spec] = {}
    for part, network in networks.items():
        for name, tensor in network.state_dict().items():
            dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
            expected[f"{part}.{name}"] = (dtype, tuple(tensor.shape))
    rows = found.get("bank.mean", (None, ()))[1][:1]
    if rows == (0,):
        raise CheckpointError(f"{printable(path)}: its bank of posteriors is empty")
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("bank.mean", "bank.logvar"), (*(rows or (1,)), config.c_dim))
    if any(name.startswith("golden.") for name in found):
        image = (config.image_channels, config.resolution, config.resolution)
        outputs = {"c": (config.c_dim,), "s": (config.s_dim,), "images": image, "mean": (config.c_dim,)}
        if _has_decoder(networks["vae"]):
            outputs["decoded"] = (config.image_channels, config.vae.resolution, config.vae.resolution)
        if config.nuisance_encoder is not None:
            outputs["s_mean"] = (config.s_dim,)
        shapes |= {f"golden.{name}": (GOLDEN_COUNT, *shape) for name, shape in outputs.items()}
    return expected | {name: (torch.float32, shape) for name, shape in shapes.items()}
