"""Names of code dimensions, by what they tell about the ground-truth factors of images."""

import re
from typing import Any

import torch

from idgan.data import Dataset
from idgan.evaluation.grid_codes import mean_codes, thinned_grid
from idgan.metrics.mig import discrete_mutual_information, discretize
from idgan.rng import seeded_rng

__all__ = ["MIN_SHARE", "factor_names"]

POINTS = 1_000
"""Images behind the names."""
BINS = 20
MIN_SHARE = 0.1
"""Smallest share of a factor's entropy that a named dimension tells."""


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


def _free_name(factor: str, taken: dict[str, int]) -> str:
    """The name of `factor` as `idgan.dims.NAME` has it, with a number if it is taken."""
    name = re.sub(r"\W+", "_", factor).strip("_")[:36] or "factor"
    name = f"factor_{name}" if re.fullmatch(r"c?\d+", name) else name
    number = 2
    while (numbered := name if number == 2 and name not in taken else f"{name}_{number}") in taken:
        number += 1
    return numbered
