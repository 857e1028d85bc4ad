"""A model as the files of a hub repository: saved in a directory, or committed to a hub.

The files are `model.safetensors`, `config.json` (a `SavedModel`), the model card, and two pictures. What
`Sampler.save_pretrained`, `Sampler.push_to_hub` and `idgan publish` write is made here, so it is the same.
"""

import copy
import hashlib
import io
import json
import logging
import os
import re
import shlex
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from idgan.errors import CheckpointError, InvalidInputError, ManifestError, RunError
from idgan.evaluation.results import RESULTS_FILE, result_from
from idgan.figures import sample_sheet, traversal_sheet
from idgan.files import read_json, user_path, write_atomically
from idgan.sampler import MIN_ACTIVE_KL, Sampler
from idgan.zoo.card import MAIN_METHODS, TITLE, model_card
from idgan.zoo.entries import CONFIG_FILE, DataSet, Entry, SavedModel, Weights, read_saved_model
from idgan.zoo.manifest import Manifest, package_manifest
from idgan.zoo.models import ResolvedCheckpoint
from idgan.zoo.weights import CHECKPOINT_FILE, build_sampler, checkpoint_bytes, read_file, with_info

__all__ = ["CARD_FILE", "FILES", "TRAVERSALS_FILE", "content_of", "facts_of", "measured", "pack", "results_of", "save"]

log = logging.getLogger(__name__)

CARD_FILE = "README.md"
TRAVERSALS_FILE = "traversals.png"
FILES = (CHECKPOINT_FILE, CONFIG_FILE, CARD_FILE, "samples.png", TRAVERSALS_FILE)
SAMPLES = 36
"""Images in samples.png."""
WINDOWS = r"\\\\|[A-Za-z]:\\"
"""The beginning of an absolute path on Windows."""
ABSOLUTE = rf"/|~|{WINDOWS}|[A-Za-z]:/|file:"
"""The beginning of an absolute path on any operating system."""


# ------------------------------------------------------------------ to a directory


def save(sampler: Sampler, directory: str | os.PathLike[str], **terms: Any) -> Path:
    """Write the files of `sampler` into `directory`, which `idgan.load` and `Sampler.from_pretrained` then read.

    Each file is written atomically, `config.json` last. It has the hash of the weights, so the new weights of an
    interrupted save do not load with an older `config.json`. Private paths in the training record are cut to their last
    part.

    Args:
        sampler: the model. If it was loaded and not changed since, its file is copied and keeps its measured results.
        directory: a missing or empty directory, or one of an earlier `save`, which is replaced.
        terms: `name`, `description`, `license` and `data`, see `facts_of`.

    Returns:
        The directory.

    Raises:
        InvalidInputError: the directory holds something else, a term is not accepted, or a network's config is not
            registered.
        CheckpointError: a weight is not finite or far too large.
        OSError: a file cannot be written.
    """
    place = user_path(directory)
    _check_directory(place)
    _, files = pack(sampler, **terms)
    for name in sorted(files, key=lambda name: name == CONFIG_FILE):
        write_atomically(place / name, files[name])
    return place


def _check_directory(place: Path) -> None:
    """Refuse a directory with other content than an earlier `save`, such as a run."""
    if not place.exists():
        return
    if not place.is_dir():
        raise InvalidInputError(f"{place} is not a directory")
    try:
        read_saved_model(place / CONFIG_FILE)
    except (OSError, ManifestError) as error:
        if any(place.iterdir()):
            raise InvalidInputError(
                f"{place} holds other files and no saved model; choose an empty or missing directory"
            ) from error


# ------------------------------------------------------------------ the files


def pack(sampler: Sampler, *, repo: str | None = None, **terms: Any) -> tuple[SavedModel, dict[str, bytes]]:
    """The files of `sampler`, name -> content, and what its `config.json` says.

    Args:
        sampler: the model.
        repo: the hub repository that the model card names.
        terms: see `facts_of`.
    """
    content, is_original = content_of(sampler)
    saved = facts_of(sampler, content, is_original, **terms)
    pictures = {
        "samples.png": sample_sheet(sampler, *sampler.codes(SAMPLES, seed=0)),
        TRAVERSALS_FILE: traversal_sheet(sampler, seed=0),
    }
    config = json.dumps(saved.to_json(), indent=2, allow_nan=False) + "\n"
    card = str(model_card(saved, sampler, repo))
    files = {CHECKPOINT_FILE: content, CONFIG_FILE: config.encode(), CARD_FILE: card.encode()}
    return saved, files | {name: _png(picture) for name, picture in pictures.items()}


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def content_of(sampler: Sampler) -> tuple[bytes, bool]:
    """The checkpoint file of `sampler`, and whether its tensors are those of the file that it was loaded from.

    Golden outputs differ in their last bits between machines. A sampler that was not changed keeps its file, so that
    hash and measured results stay valid. Only private paths in its `info` are cut.
    """
    origin = sampler.origin
    if origin is not None:
        try:
            file = read_file(origin.path, origin.sha256)
            if _is_same(sampler, build_sampler(file), origin.name):
                info = _without_private_paths(file.info)
                return file.data if info == file.info else with_info(file, info), True
        except (OSError, CheckpointError) as error:
            log.info("the checkpoint that the model was loaded from is not there any more: %s", error)
    public = copy.copy(sampler)
    public.info = _without_private_paths(sampler.info)
    content = checkpoint_bytes(public)
    return content, origin is not None and hashlib.sha256(content).hexdigest() == origin.sha256


def _is_same(sampler: Sampler, stored: Sampler, name: str) -> bool:
    """Whether `sampler` is `stored`, to which `idgan.load` gives `name` if it has none."""
    info = stored.info if stored.info.get("name") is not None else {**stored.info, "name": name}
    if sampler.config != stored.config or sampler.info != info:
        return False
    pairs = [(sampler.bank.mean, stored.bank.mean), (sampler.bank.logvar, stored.bank.logvar)]
    weights = stored.state_dict()
    pairs += [(tensor.cpu(), weights[key]) for key, tensor in sampler.state_dict().items()]
    return all(tensor.dtype == other.dtype and torch.equal(tensor, other) for tensor, other in pairs)


# ------------------------------------------------------------------ what is known


def facts_of(
    sampler: Sampler,
    content: bytes,
    is_original: bool,
    *,
    name: str | None = None,
    description: str | None = None,
    license: str | None = None,
    data: DataSet | tuple[str, str] | None = None,
) -> SavedModel:
    """What is known about the checkpoint file `content` of `sampler`.

    Args:
        sampler: the model.
        content: its checkpoint file.
        is_original: whether it has the tensors of the file that the sampler was loaded from. Only then are the measured
            results those of this file.
        name: by default that of the sampler.
        description: one sentence. By default that of the file that the sampler was loaded from, or one made from the
            training record.
        license: SPDX expression for the weights. By default that of the model that the sampler was loaded from, or of
            the recipe if the run used the recipe's data set. None otherwise: not stated.
        data: name and license of the training data, with the same default.

    Raises:
        InvalidInputError: a term is not accepted.
    """
    origin = sampler.origin
    known: Entry | SavedModel | None = (origin.entry or origin.saved) if origin else None
    of_recipe = _recipe_entry(sampler)
    if isinstance(data, tuple):
        data = DataSet(*data)
    for source in (known, of_recipe):
        if source is not None:
            license, data = license or source.license, data or source.data
    if known is not None and is_original:
        description = description or known.description
    recipe_steps = next((source.recipe_steps for source in (known, of_recipe) if source and source.recipe_steps), None)
    if is_original:
        changed_from = known.changed_from if isinstance(known, SavedModel) else None
    else:
        changed_from = origin.sha256 if origin else None
    # The sampler counts all dimensions as active if none is. Here that would be a false claim.
    active = tuple(dim for dim in sampler.active_dims if sampler.dim_kl[dim] >= MIN_ACTIVE_KL)
    return SavedModel(
        name=name or sampler.info.get("name"),
        description=description or _description(sampler, data),
        license=license,
        data=data,
        resolution=sampler.resolution,
        image_channels=sampler.image_channels,
        c_dim=sampler.c_dim,
        s_dim=sampler.s_dim,
        recipe_steps=recipe_steps,
        active_dims=active if any(sampler.dim_kl) else None,
        dims=sampler.dims,
        model=sampler.config.to_dict(),
        weights=Weights(CHECKPOINT_FILE, hashlib.sha256(content).hexdigest(), len(content)),
        changed_from=changed_from,
        training=known.training if known is not None and is_original else _public_training(sampler),
        metrics=tuple(results_of(origin)) if origin and is_original else (),
    )


def _recipe_entry(sampler: Sampler) -> Entry | None:
    """The package's manifest entry of the recipe that made `sampler`, or None if it was trained on other data."""
    record, manifest = sampler.record, Manifest.read(package_manifest())
    if record.recipe not in manifest.entries or record.data:
        return None
    entry, data = manifest[str(record.recipe)], sampler.info.get("data")
    return entry if data in (None, entry.data.id) else None


def _description(sampler: Sampler, data: DataSet | None) -> str:
    """One sentence that claims nothing but what the record and the config say."""
    method = sampler.record.method
    images = f"{sampler.resolution}x{sampler.resolution} {'color' if sampler.image_channels == 3 else 'gray'} images"
    if not sampler.record.steps:
        made = "Networks without a record of training"
    else:
        made = TITLE if method in MAIN_METHODS else f"Method {method}" if method else "Own training method"
    return f"{made}, {images}" + (f" of {data.name}" if data and sampler.record.steps else "")


def results_of(found: ResolvedCheckpoint) -> list[dict[str, Any]]:
    """The results of a checkpoint: those that its entry or its `config.json` has, and those in the file beside it.

    Of two results of one metric by one protocol, the file has the newer one. A file that is damaged or of another
    checkpoint is left out with a warning. Only a checkpoint of the usual name has such a file.
    """
    known = found.entry or found.saved
    older, newer = list(known.metrics) if known else [], list[dict[str, Any]]()
    if found.path.name == CHECKPOINT_FILE and (found.path.parent / RESULTS_FILE).is_file():
        try:
            newer = measured(found.path.parent, found.sha256)
        except RunError as error:
            log.warning("%s. Its results are left out", error)
    replaced = [(metric.get("name"), metric.get("protocol")) for metric in newer]
    return [metric for metric in older if (metric["name"], metric["protocol"]) not in replaced] + newer


def measured(run: Path, sha256: str) -> list[dict[str, Any]]:
    """The results in the run directory `run` for its checkpoint with the hash `sha256`.

    Raises:
        RunError: they cannot be read, or are of another checkpoint.
    """
    try:
        results = read_json(run / RESULTS_FILE)
        found, metrics = results["sha256"], [result_from(metric).to_dict() for metric in results["metrics"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"{run / RESULTS_FILE} has no results of this package: delete it, and measure again: `idgan evaluate {run}`"
        ) from error
    if found != sha256:
        raise RunError(f"{run / RESULTS_FILE} belongs to another checkpoint; measure this one: `idgan evaluate {run}`")
    return metrics


def _public_training(sampler: Sampler) -> dict[str, Any] | None:
    """The training record of `sampler` with every absolute path cut to its last part. None without a record."""
    training = sampler.info.get("training")
    return _without_private_paths(dict(training)) if training else None


def _without_private_paths(value: Any) -> Any:
    """JSON `value` with every absolute path cut to its last part. Directories of a private machine stay private."""
    if isinstance(value, dict):
        return {name: _without_private_paths(content) for name, content in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_private_paths(content) for content in value]
    if not isinstance(value, str):
        return value
    if re.match(ABSOLUTE, value) and (re.match(WINDOWS, value) or not re.search(r"\s--?\w", value)):
        return _last_part(value)  # one path, maybe with spaces: no command, which has options
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    cut = [_last_part(word) for word in words]
    return value if cut == words else shlex.join(cut) if len(cut) > 1 else cut[0]


def _last_part(word: str) -> str:
    """The last part of an absolute path, also behind `name=`. Other words stay as they are."""
    match = re.match(rf"((?:[^/\\~=]*=)*)(?={ABSOLUTE})", word)
    if match is None:
        return word
    return match[1] + re.split(r"[/\\]", word[match.end() :].rstrip("/\\"))[-1]
