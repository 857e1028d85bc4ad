"""Names of code dimensions in a checkpoint file: measured, or given by hand."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from idgan.data import Dataset
from idgan.dims import as_names
from idgan.errors import InvalidInputError
from idgan.evaluation.dim_names import attribute_names, factor_names
from idgan.evaluation.results import RESULTS_FILE
from idgan.figures import traversal_sheet
from idgan.files import read_json, user_path, write_atomically
from idgan.images import save_png
from idgan.zoo.card import model_card
from idgan.zoo.entries import CONFIG_FILE, SavedModel, read_saved_model
from idgan.zoo.evaluate import open_data
from idgan.zoo.models import load, local_path, resolve
from idgan.zoo.pretrained import CARD_FILE, TRAVERSALS_FILE
from idgan.zoo.weights import CHECKPOINT_FILE, CheckpointFile, build_sampler, read_file, with_info

__all__ = ["measured_names", "write_names"]

log = logging.getLogger(__name__)


def measured_names(
    model: str | os.PathLike[str], data: str | os.PathLike[str] | Dataset | None = None
) -> dict[str, int]:
    """Names of the code dimensions of `model` after the factors or the attributes of a data set.

    `factor_names` and `attribute_names` say how.

    Args:
        model, data: as in `idgan.evaluate`.

    Raises:
        InvalidInputError: the data set has neither factors nor attributes.
        DataError: the data set is missing or damaged.
    """
    sampler = load(model, device="cpu")
    dataset = open_data(sampler, data)
    if dataset.factors is None:
        attributes = getattr(dataset, "attributes", None)  # reads a file
        if attributes is None:
            raise InvalidInputError(
                f"the data set of {model} has neither ground-truth factors nor attributes; give names by hand, such as "
                "--name smile=3"
            )
        return attribute_names(sampler.vae, dataset, attributes, sampler.active_dims)
    return factor_names(sampler.vae, dataset, sampler.active_dims)


def write_names(model: str | os.PathLike[str], names: Mapping[str, int]) -> Path:
    """Write names of code dimensions into a checkpoint. Networks, and results measured on them, stay valid.

    The `config.json` and the model card of a saved model then have the names, too. A card that was edited by hand stays
    as it is. The `traversals.png` of a run or of a saved model is drawn again if names change, because it shows them.

    Args:
        model: a run directory or a `.safetensors` file.
        names: name -> dimension. A new name replaces the old name of its dimension. Other dimensions keep theirs.

    Returns:
        The file.

    Raises:
        InvalidInputError: a name is malformed, a dimension does not exist or has two names, or `model` is no file or
            directory of the user's.
        ManifestError: the `config.json` of a saved model is damaged or not of this package.
        CorruptWeightsError: the checkpoint is not the one that `config.json` describes.
        CheckpointError: the checkpoint is malformed.
    """
    place = local_path(model)
    path = place / CHECKPOINT_FILE if place and place.is_dir() else place
    if path is None or not path.is_file():
        what = f"the zoo's model, unlike ./{model}" if place is None and user_path(model).exists() else "neither"
        raise InvalidInputError(
            f"names are written into a run directory or a .safetensors file, and {model} is {what}; "
            f"`cp {resolve(model).path} mine.safetensors` makes a file of a model in the zoo"
        )
    config = path.with_name(CONFIG_FILE)
    saved = read_saved_model(config) if path.name == CHECKPOINT_FILE and config.is_file() else None
    file = read_file(path, saved.weights.sha256, saved.weights.bytes) if saved else read_file(path)
    names = as_names(names, file.config.c_dim)
    old = as_names(file.info.get("dims"), file.config.c_dim)
    kept = {name: dim for name, dim in old.items() if dim not in names.values() and name not in names}
    dims = {**kept, **names}
    if dims == old:
        return path
    results_file, card_file = path.with_name(RESULTS_FILE), path.with_name(CARD_FILE)
    results = _results_of(results_file, file.sha256)
    card = _card_with(dims, card_file, saved, file) if saved else None
    picture_file, picture = path.with_name(TRAVERSALS_FILE), None
    if path.name == CHECKPOINT_FILE and picture_file.is_file():
        sampler = build_sampler(file)
        sampler.dims = dims
        picture = traversal_sheet(sampler, seed=0)
    renamed = read_file(write_atomically(path, with_info(file, {**file.info, "dims": dims})))
    if results is not None:
        write_atomically(results_file, json.dumps({**results, "sha256": renamed.sha256}, indent=2) + "\n")
    if picture is not None:
        save_png(picture, picture_file)
    if saved is not None:
        weights = replace(saved.weights, sha256=renamed.sha256, bytes=len(renamed.data))
        saved = replace(saved, weights=weights, dims=renamed.info["dims"])
        if card is not None:
            write_atomically(card_file, card)
        write_atomically(config, json.dumps(saved.to_json(), indent=2) + "\n")
    return path


def _card_with(dims: Mapping[str, int], path: Path, saved: SavedModel, file: CheckpointFile) -> str | None:
    """The model card at `path` of the checkpoint `file`, with the names `dims` in place of the old ones.

    None if there is no card, or not the one that the package makes of `saved`.
    """
    if not path.is_file():
        return None
    sampler = build_sampler(file)
    if path.read_bytes() != str(model_card(saved, sampler)).encode():
        log.warning("%s was edited, or made for a hub or by another version. It stays without the new names", path)
        return None
    return str(model_card(replace(saved, dims=dict(dims)), sampler))


def _results_of(path: Path, sha256: str) -> dict[str, Any] | None:
    """The content of the results file `path`, if it belongs to the checkpoint with hash `sha256`."""
    try:
        content = read_json(path) if path.is_file() else None
    except ValueError:  # a damaged file belongs to no checkpoint
        return None
    return content if isinstance(content, dict) and content.get("sha256") == sha256 else None
