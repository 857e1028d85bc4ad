"""What the disentanglement metrics share: mean codes of factor_grid points, through few large calls of the caller's encoder."""

from importlib import import_module

import numpy as np
import torch

from idgan.errors import InvalidInputError, MissingDependencyError

__all__ = ["code_array", "encode_indices", "sample_codes", "sklearn", "varying_factors"]

CHUNK = 65_536


def encode_indices(encode, indices, chunk=CHUNK):
    """Mean codes (N, c_dim) float64 of the factor_grid points `indices` (N,), asking `encode` for at most `chunk` at a time."""
    parts = [code_array(encode(part), "encode(indices)", rows=len(part)) for part in indices.split(chunk)]
    if len({part.shape[1] for part in parts}) > 1:
        raise InvalidInputError(
            f"encode returned codes of differing widths: {sorted({part.shape[1] for part in parts})}"
        )
    return np.concatenate(parts)


def sample_codes(encode, factor_grid, points, rng):
    """`points` uniform draws from the factor_grid: their mean codes (points, c_dim) and integer factors (points, F)."""
    factors = factor_grid.sample(points, rng)
    return encode_indices(encode, factor_grid.indices(factors)), factors.numpy()


def code_array(values, name, rows=None):
    """`values` (tensor or array) as a finite float64 array (N, c_dim); `name` is what an error calls it."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape or (rows is not None and len(array) != rows):
        expected = "N" if rows is None else rows
        raise InvalidInputError(f"{name} has shape {array.shape}; expected ({expected}, dimensions)")
    if not np.isfinite(array).all():
        raise InvalidInputError(f"{name} holds {np.count_nonzero(~np.isfinite(array))} values that are not finite")
    return array


def varying_factors(factor_grid):
    """The number of factors, all of which must take two values or more: a constant one carries no information to measure."""
    for name, size in zip(factor_grid.names, factor_grid.sizes):
        if size < 2:
            raise InvalidInputError(
                f"factor {name!r} has {size} value; leave it out of the factor_grid, metrics need two or more"
            )
    return len(factor_grid.sizes)


def sklearn(module):
    """The module `sklearn.<module>`, imported when a metric first needs it."""
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise MissingDependencyError("this metric needs scikit-learn: pip install 'idgan[metrics]'") from error
