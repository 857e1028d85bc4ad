import dataclasses
import itertools

import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError

GRID = FactorGrid(sizes=(3, 1, 4, 2), names=("a", "b", "c", "d"))


def test_indices_enumerate_the_combinations_with_the_last_factor_fastest():
    combinations = torch.tensor(list(itertools.product(*map(range, GRID.sizes))))
    assert len(GRID) == len(combinations) == 24
    assert torch.equal(GRID.factors(torch.arange(24)), combinations)
    assert torch.equal(GRID.indices(combinations), torch.arange(24))


def test_a_stride_is_the_index_step_of_one_factor():
    assert GRID.strides == (8, 8, 2, 1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_any_integer_type_gives_long(dtype):
    factors = GRID.factors(torch.tensor([23, 0], dtype=dtype))
    assert factors.dtype == torch.long and factors.tolist() == [[2, 0, 3, 1], [0, 0, 0, 0]]
    indices = GRID.indices(factors.to(dtype))
    assert indices.dtype == torch.long and indices.tolist() == [23, 0]


def test_nothing_in_nothing_out():
    assert GRID.factors(torch.empty(0, dtype=torch.long)).shape == (0, 4)
    assert GRID.indices(torch.empty(0, 4, dtype=torch.long)).shape == (0,)


def test_samples_are_uniform_and_follow_the_generator():
    factors = GRID.sample(24_000, torch.Generator().manual_seed(1))
    counts = torch.bincount(GRID.indices(factors), minlength=24)
    assert ((counts - 1000).abs() < 5 * 1000**0.5).all()
    assert torch.equal(factors, GRID.sample(24_000, torch.Generator().manual_seed(1)))
    assert not torch.equal(factors, GRID.sample(24_000, torch.Generator().manual_seed(2)))


@pytest.mark.parametrize(
    "indices, message",
    [
        (torch.tensor([0, 24]), r"\[0, 24\), got 24"),
        (torch.tensor([-1]), "got -1"),
        (torch.tensor([[0]]), "1-D"),
        (torch.tensor(0), "1-D"),
        (torch.tensor([0.0]), "integers"),
        (torch.tensor([True]), "integers"),
        ([0, 1], "list"),
    ],
)
def test_bad_indices_are_refused(indices, message):
    with pytest.raises(InvalidInputError, match=message):
        GRID.factors(indices)


@pytest.mark.parametrize(
    "factors, message",
    [
        (torch.tensor([[0, 0, 0, 0], [0, 0, 4, 0]]), r"c must be in \[0, 4\), got 4 in row 1"),
        (torch.tensor([[-1, 0, 0, 0]]), "a must be"),
        (torch.tensor([[0, 0, 0]]), "shape"),
        (torch.tensor([0, 0, 0, 0]), "shape"),
        (torch.tensor([[0.0, 0, 0, 0]]), "integers"),
    ],
)
def test_bad_factors_are_refused(factors, message):
    with pytest.raises(InvalidInputError, match=message):
        GRID.indices(factors)


@pytest.mark.parametrize("sizes, names", [((), ()), ((2, 3), ("a",)), ((2, 0), ("a", "b")), ((2, 2), ("a", "a"))])
def test_a_grid_needs_one_positive_size_for_each_distinct_name(sizes, names):
    with pytest.raises(InvalidInputError, match="FactorGrid"):
        FactorGrid(sizes, names)


def test_a_grid_is_a_value():
    assert GRID == FactorGrid((3, 1, 4, 2), ("a", "b", "c", "d"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        GRID.sizes = (1,)
