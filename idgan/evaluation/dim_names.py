"""Names of code dimensions: which dimension tells which known property of an image."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from idgan.errors import InvalidInputError, check_range

__all__ = ["MIN_AUC", "MIN_IMAGES", "assign_names", "auc_table", "name_dims"]

MIN_AUC = 0.75
"""Smallest AUC at which a dimension gets the name of an attribute."""
MIN_IMAGES = 50
"""An attribute that fewer images have, or that fewer images lack, names no dimension."""


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
    check_range(0.5, 1.0 + 1e-9, exclusive=True, min_auc=min_auc)
    auc = auc_table(codes, attributes)
    if len(names) != auc.shape[1]:
        raise InvalidInputError(f"expected one name for each of {auc.shape[1]} attributes, got {len(names)}")
    rarer = np.minimum(attributes.sum(0).cpu().numpy(), (~attributes).sum(0).cpu().numpy())
    score = np.where(rarer >= MIN_IMAGES, np.maximum(auc, 1 - auc), 0)
    labels = [
        [name.lower() if value >= 0.5 else f"not_{name.lower()}" for name, value in zip(names, row)] for row in auc
    ]
    return assign_names(score, labels, min_auc)


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


def assign_names(score: np.ndarray, labels: Sequence[Sequence[str]], threshold: float) -> dict[str, int]:
    """Give names to dimensions, the best pair first. Each row and each column of `score` is used once at most.

    Args:
        score: how well each dimension tells each property, (c_dim, A).
        labels: the name that dimension d gets from property a is labels[d][a].
        threshold: smallest score for a name.
    """
    found: dict[str, int] = {}
    columns: set[int] = set()
    for place in np.argsort(-score, axis=None, kind="stable"):
        dim, column = divmod(int(place), score.shape[1])
        if score[dim, column] < threshold:
            break
        if dim not in found.values() and column not in columns:
            found[labels[dim][column]] = dim
            columns.add(column)
    return found
