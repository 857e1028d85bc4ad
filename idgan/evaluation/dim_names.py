"""Names of code dimensions, by what they tell about images: ground-truth factors, or binary attributes."""

import re
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idgan.data import Attributes, Dataset
from idgan.errors import InvalidInputError, brief
from idgan.evaluation.grid_codes import mean_codes, thinned_grid
from idgan.metrics.mig import discrete_mutual_information, discretize
from idgan.rng import seeded_rng

__all__ = ["MIN_AUC", "MIN_IMAGES", "MIN_SHARE", "attribute_names", "auc_table", "factor_names", "name_dims"]

POINTS = 1_000
"""Images behind the names of factors."""
MAX_IMAGES = 10_000
"""Most images behind the names of attributes."""
BINS = 20
MIN_SHARE = 0.1
"""Smallest share of a factor's entropy that a named dimension tells."""
MIN_AUC = 0.75
"""Smallest AUC at which a dimension gets the name of an attribute."""
MIN_IMAGES = 50
"""An attribute that fewer images have, or that fewer images lack, names no dimension."""


def factor_names(
    vae: Any, dataset: Dataset, active_dims: list[int], device: torch.device | str = "cpu", *, seed: int = 0
) -> dict[str, int]:
    """Name each active code dimension after the factor that it tells most about.

    A share is the mutual information of a dimension's mean code and a factor, divided by the entropy of the factor. It
    is measured on `POINTS` images of the thinned grid, with at most 8 values of each factor. A dimension gets the name
    of the factor with its largest share, if that is at least `MIN_SHARE`. If several dimensions tell most about one
    factor, the one with the largest share has the plain name, and the next are "shape_2", "shape_3" and so on.

    Args:
        vae: network with `encode`.
        dataset: a data set. One without factors gives no names.
        active_dims: dimensions that may get a name.
        seed: seed of the choice of images.

    Returns:
        Name -> dimension, largest share first.
    """
    if dataset.factors is None:
        return {}
    grid, indices = thinned_grid(dataset.factors)
    rng = seeded_rng(seed)
    rows = torch.randint(len(grid), (POINTS,), generator=rng, device="cpu")
    codes = mean_codes(vae, dataset, indices[rows], device).float().numpy()[:, active_dims]
    information, entropy = discrete_mutual_information(discretize(codes, BINS), grid.factors(rows).numpy())
    shares = information / entropy.clip(min=1e-9)
    shares[:, entropy == 0] = 0
    names: dict[str, int] = {}
    for row in (-shares.max(axis=1)).argsort(kind="stable"):
        factor = shares[row].argmax()
        if shares[row, factor] >= MIN_SHARE:
            names[_free_name(grid.names[factor], names)] = active_dims[row]
    return names


def attribute_names(
    vae: Any,
    dataset: Dataset,
    attributes: Attributes,
    active_dims: list[int],
    device: torch.device | str = "cpu",
    *,
    seed: int = 0,
) -> dict[str, int]:
    """Name active code dimensions by the attributes of the images of `dataset`, see `name_dims`.

    At most `MAX_IMAGES` images are encoded, a random choice.

    Args:
        vae: network with `encode`.
        dataset: a data set. Its images should be new to the encoder.
        attributes: attributes of its images, such as those of CelebA.
        active_dims: dimensions that may get a name.
        seed: seed of the choice of images.

    Returns:
        Name -> dimension, the highest AUC first.
    """
    rows = torch.randperm(len(dataset), generator=seeded_rng(seed), device="cpu")[:MAX_IMAGES]
    codes = mean_codes(vae, dataset, rows, device).float()[:, active_dims]
    found = name_dims(codes, torch.from_numpy(attributes.values)[rows], attributes.names)
    return {name: active_dims[column] for name, column in found.items()}


def name_dims(codes: Tensor, attributes: Tensor, names: Sequence[str], min_auc: float = MIN_AUC) -> dict[str, int]:
    """Name code dimensions by binary attributes, such as the 40 of CelebA.

    The area under the ROC curve (AUC) says how well one dimension alone tells whether an image has an attribute: 0.5 is
    chance, 1 is perfect. The pair of dimension and attribute with the highest AUC gets its name first. Then the next
    pair follows, and so on, until no pair reaches `min_auc`. Each dimension and each attribute is used once at most.
    If images with the attribute have the lower codes, the name gets the prefix "not_", so that adding to a dimension
    always brings more of its name.

    Args:
        codes: means of q(c|x), (N, c_dim). The images should be new to the encoder. Inactive dimensions should be 0.
        attributes: whether each image has each attribute: bool, (N, A).
        names: names of the attributes. They become lower case.
        min_auc: smallest AUC for a name, in (0.5, 1].

    Returns:
        name -> dimension, the highest AUC first.

    Raises:
        InvalidInputError: the shapes disagree, or `min_auc` is out of range.
    """
    if not isinstance(min_auc, Real) or not 0.5 < min_auc <= 1:
        raise InvalidInputError(f"min_auc must be more than 0.5 and at most 1, got {brief(min_auc)}")
    auc = auc_table(codes, attributes)
    if len(names) != auc.shape[1]:
        raise InvalidInputError(f"expected one name for each of {auc.shape[1]} attributes, got {len(names)}")
    rarer = np.minimum(attributes.sum(0).cpu().numpy(), (~attributes).sum(0).cpu().numpy())
    score = np.where(rarer >= MIN_IMAGES, np.maximum(auc, 1 - auc), 0)
    found: dict[str, int] = {}
    columns: set[int] = set()
    for place in np.argsort(-score, axis=None, kind="stable"):
        dim, column = divmod(int(place), len(names))
        if score[dim, column] < min_auc:
            break
        if dim not in found.values() and column not in columns:
            name = names[column].lower()
            found[_free_name(name if auc[dim, column] >= 0.5 else f"not_{name}", found)] = dim
            columns.add(column)
    return found


def auc_table(codes: Tensor, attributes: Tensor) -> np.ndarray:
    """AUC of each code dimension for each binary attribute, (c_dim, A): P(code of an image with it > of one without).

    Ties count half. An attribute that all images have, or none, has the AUC 0.5.

    Raises:
        InvalidInputError: `codes` is not (N, c_dim) of finite numbers, or `attributes` is not bool (N, A).
    """
    if codes.ndim != 2 or attributes.ndim != 2 or attributes.dtype != torch.bool or len(codes) != len(attributes):
        raise InvalidInputError(
            f"expected codes (N, c_dim) and attributes of type bool (N, A), got {tuple(codes.shape)} and "
            f"{tuple(attributes.shape)} of type {attributes.dtype}"
        )
    if not codes.isfinite().all():
        raise InvalidInputError("codes has values that are not finite")
    values, has = codes.cpu().double().numpy(), attributes.cpu().double().numpy()
    ranks = np.stack([_ranks(column) for column in values.T])
    positive = has.sum(0)
    pairs = positive * (len(has) - positive)
    wins = ranks @ has - positive * (positive + 1) / 2
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 to N. Equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts - 1) / 2)[place]


def _free_name(factor: str, taken: dict[str, int]) -> str:
    """The name of a factor or attribute as `idgan.dims.NAME` has it, with a number if it is taken."""
    name = re.sub(r"\W+", "_", factor).strip("_") or "factor"
    name = (f"factor_{name}" if re.fullmatch(r"c?\d+", name) else name)[:36]
    number = 2
    while (numbered := name if number == 2 and name not in taken else f"{name}_{number}") in taken:
        number += 1
    return numbered
