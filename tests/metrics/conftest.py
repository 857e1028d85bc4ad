"""A small grid of factors, and codes over it whose scores are known."""

import pytest
import torch

from idgan.data.factors import FactorGrid


@pytest.fixture
def grid():
    return FactorGrid((3, 4, 5), ("shape", "scale", "angle"))


@pytest.fixture
def perfect(grid):
    """(60, 3): each factor, standardized, in a dimension of its own."""
    factors = grid.factors(torch.arange(len(grid))).double()
    return (factors - factors.mean(dim=0)) / factors.std(dim=0)


@pytest.fixture
def lookup():
    """codes (len(grid), c_dim) -> encode(indices), as a caller with precomputed codes passes it."""
    return lambda codes: lambda indices: codes[indices]


@pytest.fixture
def noise():
    """encode(indices) that ignores the image: fresh N(0, I) codes of six dimensions."""
    generator = torch.Generator().manual_seed(11)
    return lambda indices: torch.randn(len(indices), 6, generator=generator)
