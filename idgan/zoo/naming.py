"""Names of code dimensions in a checkpoint file: measured, or given by hand."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from idgan.data import Dataset
from idgan.dims import as_names
from idgan.errors import InvalidInputError
from idgan.evaluation.dim_names import factor_names
from idgan.files import read_json, user_path, write_atomically
from idgan.zoo.evaluate import open_data
from idgan.zoo.manifest import CONFIG_FILE, read_saved_model
from idgan.zoo.models import load, resolve
from idgan.zoo.weights import CHECKPOINT_FILE, read_file, write_info

__all__ = ["measured_names", "write_names"]

RESULTS_FILE = "results.json"


def measured_names(
    model: str | os.PathLike[str], data: str | os.PathLike[str] | Dataset | None = None
) -> dict[str, int]:
    """Names of the code dimensions of `model` after the factors of its data set, see `factor_names`.

    Args:
        model, data: as in `idgan.evaluate`.

    Raises:
        InvalidInputError: the data set has no factors.
        DataError: the data set is missing or damaged.
    """
    sampler = load(model, device="cpu")
    dataset = open_data(sampler, data)
    if dataset.factors is None:
        raise InvalidInputError(
            f"the data set of {model} has no ground-truth factors; give names by hand, such as --name smile=3"
        )
    return factor_names(sampler.vae, dataset, sampler.active_dims)


def write_names(model: str | os.PathLike[str], names: Mapping[str, int], *, keep: bool = True) -> Path:
    """Write names of code dimensions into a checkpoint. Networks, and results measured on them, stay valid.

    Args:
        model: a run directory or a `.safetensors` file.
        names: name -> dimension. A new name replaces the old name of its dimension.
        keep: keep the names of other dimensions.

    Returns:
        The file.

    Raises:
        InvalidInputError: a name is malformed, a dimension does not exist or has two names, or `model` is no file or
            directory of the user's.
        ManifestError: the `config.json` of a saved model is damaged or not of this package.
        CorruptWeightsError: the checkpoint is not the one that `config.json` describes.
        CheckpointError: the checkpoint is malformed.
    """
    place = user_path(model)
    path = place / CHECKPOINT_FILE if place.is_dir() else place
    if not path.is_file():
        raise InvalidInputError(
            f"names are written into a run directory or a .safetensors file, and {model} is neither; "
            f"`cp {resolve(model).path} mine.safetensors` makes a file of a model in the zoo"
        )
    config = path.with_name(CONFIG_FILE)
    saved = read_saved_model(config) if path.name == CHECKPOINT_FILE and config.is_file() else None
    file = read_file(path, saved.weights.sha256, saved.weights.bytes) if saved else read_file(path)
    names = as_names(names, file.config.c_dim)
    renamed = set(names.values())
    old: Mapping[str, int] = as_names(file.info.get("dims"), file.config.c_dim) if keep else {}
    kept = {name: dim for name, dim in old.items() if dim not in renamed and name not in names}
    write_info(file, {**file.info, "dims": {**kept, **names}})
    _keep_results(path, file.sha256)
    if saved is not None:
        renamed_file = read_file(path)
        weights = replace(saved.weights, sha256=renamed_file.sha256, bytes=len(renamed_file.data))
        saved = replace(saved, weights=weights, dims=renamed_file.info["dims"])
        write_atomically(config, json.dumps(saved.to_json(), indent=2) + "\n")
    return path


def _keep_results(checkpoint: Path, old_sha256: str) -> None:
    """Give the results beside a renamed checkpoint its new hash."""
    results = checkpoint.with_name(RESULTS_FILE)
    content: Any = read_json(results) if results.is_file() else None
    if isinstance(content, dict) and content.get("sha256") == old_sha256:
        content["sha256"] = read_file(checkpoint).sha256
        write_atomically(results, json.dumps(content, indent=2) + "\n")
