"""Checkpoints by name, path or hub repository: resolved, verified and loaded."""

import logging
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from idgan.errors import (
    CheckpointError,
    CorruptWeightsError,
    FileMissingError,
    HubError,
    HubOfflineError,
    HubUnreachableError,
    InvalidInputError,
    ManifestError,
    NotTrainedError,
    RepoNotFoundError,
    UnknownModelError,
    brief,
)
from idgan.networks import ModelConfig
from idgan.networks.modules import usable_device
from idgan.registry import load_plugins
from idgan.sampler import Sampler
from idgan.zoo.download import fetch, locate
from idgan.zoo.entries import CONFIG_FILE, Entry, SavedModel, read_saved_model
from idgan.zoo.manifest import Manifest
from idgan.zoo.untrusted import printable
from idgan.zoo.weights import (
    CHECKPOINT_FILE,
    CheckpointFile,
    build_sampler,
    build_without_memory,
    golden_differences,
    read_file,
)

__all__ = ["TOLERANCES", "ResolvedCheckpoint", "load", "local_path", "resolve", "verify"]

log = logging.getLogger(__name__)

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
TOLERANCES = {"images": 1e-3, "decoded": 1e-3, "mean": 1e-3, "s_mean": 1e-3}
"""Largest accepted difference of golden outputs in float32: pixels in [0, 1], and units of c and s.

Differences between machines are smaller.
"""


@dataclass(frozen=True)
class ResolvedCheckpoint:
    """A checkpoint that was found and verified.

    Attributes:
        name: name of the model.
        path: where the file is.
        sha256: hex hash of the content.
        entry: entry in the manifest, None for files and repositories.
        saved: content of the `config.json` beside the file, None without one.
        file: content that was hashed, so that the file is read once. None: `load` reads the file and checks the hash.
    """

    name: str
    path: Path
    sha256: str
    entry: Entry | None = None
    saved: SavedModel | None = None
    file: CheckpointFile | None = field(default=None, repr=False, compare=False)


def load(
    name: str | os.PathLike[str] | ResolvedCheckpoint,
    *,
    pretrained: bool = True,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "float32",
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
) -> Sampler:
    """The `Sampler` called `name`: encoder, decoder and generator in one object, ready to use.

    Args:
        name: a name in `list_models()`, a run directory, a directory of `Sampler.save_pretrained`, a `.safetensors`
            file, "org/repo" or "org/repo@revision" on the hub, or the result of `resolve`. Names of models come first:
            write "./dsprites" for a directory of that name.
        pretrained: False builds the architecture with random weights.
        device: "auto" (CUDA if there is one, else the CPU), or any PyTorch device.
        dtype: "float32", "bfloat16" or "float16", or the torch dtype. Images are float32 in any case.
        revision: commit, branch or tag. For hub repositories only.
        cache_dir, endpoint, token, local_files_only: as in huggingface_hub. Its HF_* environment variables give the
            defaults.

    Raises:
        UnknownModelError: there is no such name. The message lists the known names.
        NotTrainedError: the name is known, but has no published weights yet.
        WeightsNotHereError: the weights are in the source tree of idgan, but not in this installation.
        CorruptWeightsError, CheckpointError: the file is damaged or malformed.
        HubError: the hub could not serve the file. Subclasses say why.
    """
    load_plugins()
    # Inference mode and a default device of the caller must not reach the tensors.
    with torch.inference_mode(False), torch.device("cpu"):
        torch_dtype, torch_device = _find_dtype(dtype), usable_device(device)
        if not pretrained:
            return _untrained_sampler(name).to(torch_device, torch_dtype)
        found = resolve(
            name,
            revision=revision,
            cache_dir=cache_dir,
            endpoint=endpoint,
            token=token,
            local_files_only=local_files_only,
        )
        sampler = build_sampler(found.file or read_file(found.path, found.sha256))
        if sampler.info.get("name") is None:
            sampler.info["name"] = found.name
        sampler.origin = replace(found, file=None)  # without the content, which would stay in memory
        return sampler.to(torch_device, torch_dtype)


def _untrained_sampler(name: str | os.PathLike[str] | ResolvedCheckpoint) -> Sampler:
    """The networks of the manifest entry `name`, with random weights."""
    name = name.name if isinstance(name, ResolvedCheckpoint) else str(name)
    entry = Manifest.load()[name]
    if entry.model is None:
        raise _not_trained(name, entry)
    try:
        config = ModelConfig.from_dict(entry.model)
        build_without_memory(config)  # checks its size
    except InvalidInputError as error:
        raise ManifestError(f"the manifest's entry {name!r} describes no model: {error}") from error
    return Sampler(config, info={"name": name, "pretrained": False})


def resolve(
    name: str | os.PathLike[str] | ResolvedCheckpoint, *, revision: str | None = None, **options: Any
) -> ResolvedCheckpoint:
    """Find the checkpoint called `name`, download it if needed, and verify it.

    Arguments and errors are those of `load`. A `ResolvedCheckpoint` is returned as it is.
    """
    if isinstance(name, ResolvedCheckpoint):
        return name
    load_plugins()
    manifest, name = Manifest.load(), str(name)
    repo, at, pinned = name.partition("@")
    place = local_path(name, manifest)
    is_local = name in manifest.entries or place is not None or name.endswith(".safetensors")
    on_hub = not is_local and re.fullmatch(r"\w[^/]*/[^/]+", repo) is not None
    if revision is not None and (at or not on_hub):
        raise InvalidInputError(
            f"revision {revision!r} is only for a hub repository (org/repo) without @revision, got {name!r}"
        )
    if on_hub:
        file = _read_from_hub(repo, pinned if at else revision or "main", options)
        return _resolved(repo, file, saved=_config_on_hub(repo, file, options))
    if name in manifest.entries:
        entry = manifest[name]
        if entry.weights is None:
            raise _not_trained(name, entry)
        return _resolved(name, locate(entry.weights, read_file, **options), entry)
    if place is not None:
        return _read_directory(place) if place.is_dir() else _resolved(place.stem, read_file(place))
    if "/" in name or name.endswith(".safetensors"):
        raise UnknownModelError(
            f"{printable(name)!r:.300} is neither a directory nor a file here, and not a hub repository (org/repo)"
        )
    manifest[name]  # raises UnknownModelError with the nearest name
    raise AssertionError


def local_path(name: str | os.PathLike[str], manifest: Manifest | None = None) -> Path | None:
    """The file or directory that `name` means in `load`. None if `name` is a model in a manifest, or nothing is there.

    Names of models come first, so "dsprites" never means a directory of that name. "./dsprites" does.
    `manifest` spares reading the manifest again.
    """
    place = os.path.expanduser(str(name))  # not a `Path`: of what is no path, os.path.exists says that it is not there
    if not os.path.exists(place) or str(name) in (manifest or Manifest.load()).entries:
        return None
    return Path(place)


def _resolved(
    name: str, file: CheckpointFile, entry: Entry | None = None, saved: SavedModel | None = None
) -> ResolvedCheckpoint:
    return ResolvedCheckpoint(name, file.path, file.sha256, entry, saved, file)


def _not_trained(name: str, entry: Entry) -> NotTrainedError:
    if entry.model is None:
        return NotTrainedError(f"{name} is planned: this version of idgan has neither its weights nor its networks")
    return NotTrainedError(
        f"{name} has no published weights yet. Train it with `idgan train {name} --out runs/{name}` and load it with "
        f'idgan.load("runs/{name}"). For random weights: idgan.load("{name}", pretrained=False)'
    )


def _read_directory(directory: Path) -> ResolvedCheckpoint:
    """The checkpoint in a run directory, or in a directory of `Sampler.save_pretrained`."""
    path = _file_in(directory)
    name, config = directory.resolve().name, directory / CONFIG_FILE
    if not config.exists():
        return _resolved(name, read_file(path))
    saved = read_saved_model(config)
    return _resolved(name, read_file(path, saved.weights.sha256, saved.weights.bytes), saved=saved)


def _file_in(directory: Path) -> Path:
    """The checkpoint file in `directory`."""
    path = directory / CHECKPOINT_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{directory} has no {CHECKPOINT_FILE}, so it is no finished run. To continue a run, "
            "repeat its `idgan train`"
        )
    return path


def _read_from_hub(repo: str, revision: str, options: dict[str, Any]) -> CheckpointFile:
    try:
        file: CheckpointFile = fetch(repo, CHECKPOINT_FILE, revision=revision, read=read_file, **options)
    except (RepoNotFoundError, HubUnreachableError, HubOfflineError) as error:  # perhaps it was meant as a path
        raise type(error)(f"{error} (There is no directory {repo} here either.)") from error
    return file


def _config_on_hub(repo: str, file: CheckpointFile, options: dict[str, Any]) -> SavedModel | None:
    """The `config.json` of the commit that `file` is of, or None if it cannot be had: the hash of `file` was checked.

    Raises:
        CorruptWeightsError: it states another hash.
        ManifestError: it is damaged.
    """
    commit = file.path.parent.name  # the cache keeps the files of a commit in a folder of that name
    try:
        path = fetch(repo, CONFIG_FILE, revision=commit, **options)
    except FileMissingError:  # a repository of an older version
        return None
    except HubError as error:
        log.warning("%s Loading without its description.", error)
        return None
    saved = read_saved_model(path)
    if saved.weights.sha256 != file.sha256:
        raise CorruptWeightsError(
            f"{CHECKPOINT_FILE} of {repo}@{commit} is not what its {CONFIG_FILE} states: "
            f"expected sha256 {saved.weights.sha256}, found {file.sha256} ({file.path})."
        )
    return saved


def verify(name: str | os.PathLike[str] | ResolvedCheckpoint, **options: Any) -> dict[str, Any]:
    """Check the hash of checkpoint `name`, and that its networks reproduce its golden outputs.

    `options` are those of `load`.

    Returns:
        {"name", "path", "differences": {"images", "decoded", "mean", "s_mean"}, "ok"}. "decoded" is missing if the VAE
        has no decoder, and "s_mean" if the model has no nuisance encoder.

    Raises:
        CorruptWeightsError, CheckpointError: the file is damaged or malformed.
    """
    # Inference mode and a default device of the caller must not reach the tensors.
    with torch.inference_mode(False), torch.device("cpu"):
        found = resolve(name, **options)
        differences = golden_differences(found.file or read_file(found.path, found.sha256))
    return {
        "name": found.name,
        "path": str(found.path),
        "differences": differences,
        "ok": all(difference <= TOLERANCES[key] for key, difference in differences.items()),
    }


def _find_dtype(dtype: object) -> torch.dtype:
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    if isinstance(dtype, torch.dtype) and dtype in DTYPES.values():
        return dtype
    raise InvalidInputError(f"dtype must be one of {', '.join(DTYPES)}, got {brief(dtype)}")
