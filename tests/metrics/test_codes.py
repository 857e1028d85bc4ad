import sys

import numpy as np
import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError, MissingDependencyError, check_integer
from idgan.metrics.codes import encode_indices, sample_codes, sklearn, varying_factors


@pytest.mark.parametrize("chunk", [1, 7, 60, 1000])
def test_chunking_changes_the_calls_not_the_codes(perfect, lookup, chunk):
    sizes = []

    def encode(indices):
        sizes.append(len(indices))
        return lookup(perfect)(indices)

    indices = torch.arange(60).flip(0)
    np.testing.assert_array_equal(encode_indices(encode, indices, chunk=chunk), perfect.flip(0).numpy())
    assert max(sizes) <= chunk and sum(sizes) == 60 and len(sizes) == -(-60 // chunk)


def test_sampled_codes_belong_to_their_factors(grid, perfect, lookup):
    codes, factors = sample_codes(lookup(perfect), grid, 200, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(codes, perfect[grid.indices(torch.from_numpy(factors))].numpy())


@pytest.mark.parametrize(
    "codes, complaint",
    [
        (lambda n: torch.zeros(n), r"shape \(4,\)"),
        (lambda n: torch.zeros(n + 1, 2), r"shape \(5, 2\); expected \(4"),
        (lambda n: torch.zeros(n, 0), r"shape \(4, 0\)"),
        (lambda n: np.full((n, 2), np.nan), "8 values that are not finite"),
    ],
)
def test_bad_codes_are_named(codes, complaint):
    with pytest.raises(InvalidInputError, match=complaint):
        encode_indices(lambda indices: codes(len(indices)), torch.arange(4))


def test_half_precision_codes_are_read_as_float64():
    assert (
        encode_indices(lambda indices: torch.ones(len(indices), 2, dtype=torch.bfloat16), torch.arange(3)).dtype
        == np.float64
    )


def test_a_constant_factor_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="'color'"):
        varying_factors(FactorGrid((1, 3), ("color", "shape")))


@pytest.mark.parametrize("value", [1, 2.0, True, None])
def test_counts_are_whole_numbers_large_enough(value):
    with pytest.raises(InvalidInputError, match="points must be an integer of 2 or more"):
        check_integer(2, points=value)
    check_integer(2, points=np.int64(2))


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.svm", None)
    with pytest.raises(MissingDependencyError, match="extra 'metrics' of idgan"):
        sklearn("svm")
