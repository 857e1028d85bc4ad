"""Helpers that the disentanglement metrics share: mean codes of grid points, asked for in few large calls."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError, MissingDependencyError, missing_extra

__all__ = ["Encode", "code_array", "encode_indices", "sample_codes", "sample_factors", "sklearn", "varying_factors"]

Encode = Callable[[Tensor], Any]
"""Grid indices, long (N,), -> mean codes (N, c_dim), a tensor or an array."""
CHUNK = 65_536
"""Most points in one call of an `Encode`."""


def encode_indices(encode: Encode, indices: Tensor, chunk: int = CHUNK) -> np.ndarray:
    """Mean codes (N, c_dim) float64 of the grid points `indices` (N,), in calls of at most `chunk` points."""
    parts = [code_array(encode(part), "encode(indices)", rows=len(part)) for part in indices.split(chunk)]
    widths = sorted({part.shape[1] for part in parts})
    if len(widths) > 1:
        raise InvalidInputError(f"encode returned codes of different widths: {widths}")
    return np.concatenate(parts)


def sample_factors(factor_grid: FactorGrid, points: int, rng: torch.Generator) -> Tensor:
    """`points` random grid points: integer factors (points, F) on the CPU."""
    return factor_grid.factors(torch.randint(len(factor_grid), (points,), generator=rng, device="cpu"))


def sample_codes(
    encode: Encode, factor_grid: FactorGrid, points: int, rng: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """`points` random grid points: mean codes (points, c_dim) and integer factors (points, F)."""
    factors = sample_factors(factor_grid, points, rng)
    return encode_indices(encode, factor_grid.indices(factors)), factors.numpy()


def code_array(values: Any, name: str, rows: int | None = None) -> np.ndarray:
    """`values`, a tensor or an array, as a finite float64 array (N, c_dim).

    Args:
        name: name of the values in an error.
        rows: required N. None accepts any.

    Raises:
        InvalidInputError: the shape is wrong, or a value is not finite.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape or (rows is not None and len(array) != rows):
        expected = "N" if rows is None else rows
        raise InvalidInputError(f"{name} has shape {array.shape}; expected ({expected}, dimensions)")
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{name} holds {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array


def varying_factors(factor_grid: FactorGrid) -> int:
    """The number of factors.

    Raises:
        InvalidInputError: a factor has only one value. It carries no information that a metric could measure.
    """
    for name, size in zip(factor_grid.names, factor_grid.sizes):
        if size < 2:
            raise InvalidInputError(
                f"factor {name!r} has {size} value; metrics need two or more, leave the factor out of the grid"
            )
    return len(factor_grid.sizes)


def sklearn(module: str) -> Any:
    """The module `sklearn.<module>`, imported when a metric first needs it."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingDependencyError(missing_extra("this metric needs scikit-learn", "metrics")) from error


def sklearn_seed(seed: int) -> int:
    """`seed` in the range that scikit-learn accepts, [0, 2**32)."""
    return seed % 2**32
