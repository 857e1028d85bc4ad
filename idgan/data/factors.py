"""The grid of ground-truth factors of a synthetic data set: image index <-> factor combination."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from idgan.errors import InvalidInputError

__all__ = ["FactorGrid", "check_indices"]


@dataclass(frozen=True)
class FactorGrid:
    """Every combination of `len(sizes)` factors. Factor i takes the integers [0, sizes[i]), and the last factor varies
    fastest.

    Tensors may be on any device. Results stay on it.
    """

    sizes: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        distinct = len(set(self.names)) == len(self.names) == len(self.sizes)
        if not self.sizes or not distinct or min(self.sizes) < 1:
            raise InvalidInputError(
                f"FactorGrid needs one positive size for each distinct name, got {self.sizes} for {self.names}"
            )

    def __len__(self) -> int:
        return math.prod(self.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Change of the index when factor i grows by one."""
        return tuple(math.prod(self.sizes[i + 1 :]) for i in range(len(self.sizes)))

    def factors(self, indices: Tensor) -> Tensor:
        """Factors (N, F) of the grid points `indices` (N,), both long.

        Raises:
            InvalidInputError: `indices` is not 1-D, not of integers, or outside [0, len(self)).
        """
        indices = self.check_indices(indices)
        strides, sizes = (torch.tensor(values, device=indices.device) for values in (self.strides, self.sizes))
        return indices[:, None] // strides % sizes

    def indices(self, factors: Tensor) -> Tensor:
        """Indices (N,) of the factor combinations `factors` (N, F), both long. The inverse of `factors`.

        Raises:
            InvalidInputError: `factors` is not (N, F), not of integers, or a factor is outside [0, size).
        """
        factors = _integers("factors", factors)
        if factors.ndim != 2 or factors.shape[1] != len(self.sizes):
            raise InvalidInputError(
                f"factors must have shape (N, {len(self.sizes)}), for {self.names}, got {tuple(factors.shape)}"
            )
        outside = (factors < 0) | (factors >= torch.tensor(self.sizes, device=factors.device))
        if outside.any():
            row, column = outside.nonzero()[0].tolist()
            name, size, value = self.names[column], self.sizes[column], factors[row, column].item()
            raise InvalidInputError(f"{name} must be in [0, {size}), got {value} in row {row}")
        return (factors * torch.tensor(self.strides, device=factors.device)).sum(1)

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Factors (n, F), long, uniform over the grid. They are drawn on the CPU."""
        return self.factors(torch.randint(len(self), (n,), generator=rng, device="cpu"))

    def check_indices(self, indices: Tensor) -> Tensor:
        """`indices` as a long tensor (N,).

        Raises:
            InvalidInputError: it is not 1-D, not of integers, or outside [0, len(self)).
        """
        return check_indices(indices, len(self))


def check_indices(indices: Tensor, count: int) -> Tensor:
    """`indices` into `count` images, as a long tensor (N,).

    Raises:
        InvalidInputError: it is not 1-D, not of integers, or outside [0, count).
    """
    indices = _integers("indices", indices)
    if indices.ndim != 1:
        raise InvalidInputError(f"indices must be 1-D, got shape {tuple(indices.shape)}")
    outside = indices[(indices < 0) | (indices >= count)]
    if len(outside):
        raise InvalidInputError(f"indices must be in [0, {count}), got {outside[0].item()}")
    return indices


def _integers(name: str, tensor: object) -> Tensor:
    """`tensor` as a long tensor, if it is a tensor of integers."""
    if (
        not isinstance(tensor, Tensor)
        or tensor.is_floating_point()
        or tensor.is_complex()
        or tensor.dtype == torch.bool
    ):
        found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise InvalidInputError(f"{name} must be a tensor of integers, got {found}")
    return tensor.long()
