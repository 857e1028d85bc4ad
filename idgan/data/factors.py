"""The grid of ground-truth factors behind a synthetic data set: image index <-> factor combination."""

import math
from dataclasses import dataclass

import torch

from idgan.errors import InvalidInputError

__all__ = ["FactorGrid"]


@dataclass(frozen=True)
class FactorGrid:
    """Every combination of `len(sizes)` factors, factor i taking the integers [0, sizes[i]); the last factor varies fastest.

    Tensors may live on any device; results stay on it.
    """

    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self):
        if (
            not self.sizes
            or len(self.sizes) != len(self.names)
            or len(set(self.names)) != len(self.names)
            or min(self.sizes) < 1
        ):
            raise InvalidInputError(
                f"FactorGrid needs one positive size for each distinct name, got {self.sizes} for {self.names}"
            )

    def __len__(self):
        return math.prod(self.sizes)

    @property
    def strides(self):
        """Tuple: how far the index moves when factor i grows by one."""
        return tuple(math.prod(self.sizes[i + 1 :]) for i in range(len(self.sizes)))

    def factors(self, indices):
        """(N,) indices -> (N, F) factors, both long.

        Raises:
            InvalidInputError: not 1-D, not integers, or outside [0, len(self)).
        """
        indices = self.check_indices(indices)
        strides, sizes = indices.new_tensor(self.strides), indices.new_tensor(self.sizes)
        return indices[:, None] // strides % sizes

    def indices(self, factors):
        """(N, F) factors -> (N,) indices, both long; the inverse of `factors`.

        Raises:
            InvalidInputError: not (N, F), not integers, or a factor outside [0, size).
        """
        factors = _integers("factors", factors)
        if factors.ndim != 2 or factors.shape[1] != len(self.sizes):
            raise InvalidInputError(
                f"factors must have shape (N, {len(self.sizes)}), for {self.names}, got {tuple(factors.shape)}"
            )
        outside = (factors < 0) | (factors >= factors.new_tensor(self.sizes))
        if outside.any():
            row, column = outside.nonzero()[0].tolist()
            name, size, value = self.names[column], self.sizes[column], factors[row, column].item()
            raise InvalidInputError(f"{name} must be in [0, {size}), got {value} in row {row}")
        return (factors * factors.new_tensor(self.strides)).sum(1)

    def sample(self, n, rng=None):
        """(n, F) long factors, uniform over the grid; drawn on the CPU."""
        return self.factors(torch.randint(len(self), (n,), generator=rng))

    def check_indices(self, indices):
        """`indices` as a (N,) long tensor; raises InvalidInputError unless it is 1-D, of integers, within [0, len(self))."""
        indices = _integers("indices", indices)
        if indices.ndim != 1:
            raise InvalidInputError(f"indices must be 1-D, got shape {tuple(indices.shape)}")
        outside = indices[(indices < 0) | (indices >= len(self))]
        if len(outside):
            raise InvalidInputError(f"indices must be in [0, {len(self)}), got {outside[0].item()}")
        return indices


def _integers(what, tensor):
    if (
        not isinstance(tensor, torch.Tensor)
        or tensor.is_floating_point()
        or tensor.is_complex()
        or tensor.dtype == torch.bool
    ):
        raise InvalidInputError(
            f"{what} must be a tensor of integers, got {getattr(tensor, 'dtype', type(tensor).__name__)}"
        )
    return tensor.long()
