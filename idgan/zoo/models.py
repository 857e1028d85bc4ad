"""Checkpoints by name, path or hub repository: found, verified and built."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from idgan.errors import (
    CheckpointError,
    HubOfflineError,
    HubUnreachableError,
    InvalidInputError,
    NotTrainedError,
    RepoNotFoundError,
    UnknownModelError,
)
from idgan.networks import ModelConfig
from idgan.networks.modules import usable_device
from idgan.sampler import Sampler
from idgan.zoo.download import fetch, locate
from idgan.zoo.manifest import Manifest
from idgan.zoo.weights import CHECKPOINT_FILE, golden_differences, read_checkpoint

__all__ = ["TOLERANCES", "ResolvedCheckpoint", "info", "list_models", "load", "resolve", "verify"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCES = {"images": 1e-3, "decoded": 1e-3, "mean": 1e-3}
"""How far golden outputs may be off in float32, in pixels of [0, 1] and units of the code: more than machines differ, less than shows."""


def load(
    name,
    *,
    pretrained=True,
    device="auto",
    dtype="float32",
    revision=None,
    cache_dir=None,
    endpoint=None,
    token=None,
    local_files_only=False,
):
    """The `Sampler` called `name`: encoder, decoder and generator in one object, ready to use.

    Args:
        name: a name of `list_models()`; a run directory; a `.safetensors` file; "org/repo" or "org/repo@revision" on the hub. In this
            order: a directory called like a checkpoint is "./dsprites".
        pretrained: False builds the right architecture with random weights.
        device: "auto" (CUDA where there is one), or any PyTorch device.
        dtype: "float32", "bfloat16" or "float16", or the torch dtype; images come out in float32 all the same.
        revision: commit, branch or tag, for hub repositories only.
        cache_dir, endpoint, token, local_files_only: as in huggingface_hub; by default its HF_* environment variables count.

    Raises:
        UnknownModelError: nothing of that name; the message lists what there is.
        NotTrainedError: known, but without published weights yet.
        CorruptWeightsError, CheckpointError: a file that is not what was promised, or malformed.
        HubError: the hub could not serve it; subclasses say why.
    """
    dtype, device = _dtype(dtype), usable_device(device)
    if pretrained:
        found = resolve(
            name,
            revision=revision,
            cache_dir=cache_dir,
            endpoint=endpoint,
            token=token,
            local_files_only=local_files_only,
        )
        sampler = read_checkpoint(found.path)
        sampler.info.setdefault("name", found.name)
    else:
        entry = Manifest.load()[name]
        if entry.model is None:
            raise _not_trained(name, entry)
        sampler = Sampler(ModelConfig.from_dict(entry.model), info={"name": name, "pretrained": False})
    return sampler.to(device, dtype)


@dataclass(frozen=True)
class ResolvedCheckpoint:
    """Where a checkpoint is: its `name`, the `path` of the verified file, and its manifest `entry` (None for files and repositories)."""

    name: str
    path: Path
    entry: object = None


def resolve(name, *, revision=None, **options):
    """Find (and if need be download) and verify the checkpoint called `name`; everything else as in `load`. Returns `ResolvedCheckpoint`."""
    manifest, name = Manifest.load(), str(name)
    repo, at, pinned = name.partition("@")
    elsewhere = not (name in manifest.entries or os.path.exists(name) or name.endswith(".safetensors"))
    on_hub = elsewhere and re.fullmatch(r"\w[^/]*/[^/]+", repo)
    if revision is not None and (at or not on_hub):
        raise InvalidInputError(
            f"revision {revision!r} is for hub repositories (org/repo) that name none themselves, not for {name}"
        )
    if on_hub:
        return ResolvedCheckpoint(repo, _from_hub(repo, pinned if at else revision or "main", options))
    if name in manifest.entries:
        return ResolvedCheckpoint(name, _published(name, manifest[name], options), manifest[name])
    if os.path.isfile(name):
        return ResolvedCheckpoint(Path(name).stem, Path(name))
    if os.path.isdir(name):
        return ResolvedCheckpoint(Path(name).resolve().name, _of_run(Path(name)))
    if "/" in name or name.endswith(".safetensors"):
        raise UnknownModelError(f"{name!r} is neither a directory nor a file here, and not a hub repository (org/repo)")
    return manifest[name]  # raises UnknownModelError with the nearest name


def _published(name, entry, options):
    if entry.weights is None:
        raise _not_trained(name, entry)
    return locate(entry.weights, **options)


def _not_trained(name, entry):
    if entry.model is None:
        return NotTrainedError(f"{name} is planned: this version of idgan has neither its weights nor its networks")
    return NotTrainedError(
        f"{name} has no published weights yet. Train it with `idgan train {name} --out runs/{name}` and load it with "
        f'idgan.load("runs/{name}"); for random weights: idgan.load("{name}", pretrained=False)'
    )


def _of_run(directory):
    path = directory / CHECKPOINT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {CHECKPOINT_FILE}: it is no finished run. The `idgan train` that made it continues it"
        )
    return path


def _from_hub(repo, revision, options):
    try:
        return fetch(repo, CHECKPOINT_FILE, revision=revision, **options)
    except (RepoNotFoundError, HubUnreachableError, HubOfflineError) as error:  # perhaps it was meant as a path
        raise type(error)(f"{error} (There is no directory {repo} here either.)") from error


def list_models(*, status=None):
    """Names of all checkpoints in the manifest, sorted; `status` "released" or "recipe" keeps those only."""
    if status not in (None, "released", "recipe"):
        raise InvalidInputError(f"status must be released, recipe or None, got {status!r}")
    manifest = Manifest.load()
    return [name for name in manifest.names() if status in (None, manifest[name].status)]


def info(name):
    """What the manifest says of checkpoint `name`, as a dict: status, licenses, shapes, training, metrics."""
    return Manifest.load()[name].to_json()


def verify(name, **options):
    """Hold checkpoint `name` to its hash and its golden vectors.

    Returns:
        {"name", "path", "differences": {"images", "decoded", "mean"}, "ok"}.

    Raises:
        CorruptWeightsError, CheckpointError: the file itself is not what was promised. `options`: as in `load`.
    """
    found = resolve(name, **options)
    differences = golden_differences(found.path)
    return {
        "name": found.name,
        "path": str(found.path),
        "differences": differences,
        "ok": all(differences[key] <= tolerance for key, tolerance in TOLERANCES.items()),
    }


def _dtype(dtype):
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    if dtype in DTYPES.values():
        return dtype
    raise InvalidInputError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
