import numpy as np
import pytest
import torch
from hypothesis import given, strategies

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError
from idgan.metrics import mutual_information_gap
from idgan.metrics.mig import discrete_mutual_information, discretize


def test_perfect_code_scores_one(grid, perfect, lookup):
    # What is missing is the plug-in bias of the second-best dimension, about (4 - 1)(5 - 1) / 2N nats.
    result = mutual_information_gap(lookup(perfect), grid, seed=0)
    assert 0.998 < result.value <= 1
    assert result.details["best_dim"] == {"shape": 0, "scale": 1, "angle": 2}


def test_more_values_than_bins_cap_the_score(lookup):
    # 40 values fall in pairs into 20 bins, so even the perfect dimension knows log 20 of log 40 nats.
    grid = FactorGrid((40, 2), ("orientation", "shape"))
    result = mutual_information_gap(lookup(grid.factors(torch.arange(80))), grid, seed=0)
    assert result.details["gaps"]["orientation"] == pytest.approx(np.log(20) / np.log(40), abs=0.005)


def test_random_code_scores_zero(grid, noise):
    assert 0 <= mutual_information_gap(noise, grid, seed=0).value < 0.005


def test_a_copied_dimension_closes_the_gap(grid, perfect, lookup):
    doubled = torch.cat([perfect, perfect], dim=1)
    assert mutual_information_gap(lookup(doubled), grid, seed=0).value == pytest.approx(0, abs=1e-12)


def test_rotating_two_dimensions_costs_their_two_factors_only(grid, perfect, lookup):
    x, y = perfect[:, 1], perfect[:, 2]
    rotated = torch.stack([perfect[:, 0], (x + y) / 2**0.5, (x - y) / 2**0.5], dim=1)
    before, after = (mutual_information_gap(lookup(code), grid, seed=0).details["gaps"] for code in (perfect, rotated))
    assert after["shape"] == pytest.approx(before["shape"], abs=0.005)
    assert after["scale"] < 0.3 and after["angle"] < 0.3


def test_permutation_scale_and_shift_leave_the_score(grid, perfect, lookup):
    mixed = perfect + 0.5 * torch.randn(60, 3, dtype=torch.double)
    moved = mixed[:, [2, 0, 1]] * torch.tensor([5.0, -2.0, 1e-3]) + torch.tensor([1.0, 40.0, -3.0])
    before, after = (mutual_information_gap(lookup(code), grid, seed=0) for code in (mixed, moved))
    assert after.value == pytest.approx(before.value, abs=1e-12)
    matrix = np.array(before.details["mutual_information"])
    np.testing.assert_allclose(np.array(after.details["mutual_information"]), matrix[[2, 0, 1]], atol=1e-12)


def test_mutual_information_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    factors = random.integers(0, [3, 6, 11], size=(500, 3))
    labels = (factors[:, [0, 1, 2, 0]] + random.integers(0, [1, 2, 9, 4], size=(500, 4))) % 20
    information, entropy = discrete_mutual_information(labels, factors)
    for (dim, factor), value in np.ndenumerate(information):
        assert value == pytest.approx(metrics.mutual_info_score(factors[:, factor], labels[:, dim]), abs=1e-12)
    for factor, value in enumerate(entropy):
        assert value == pytest.approx(metrics.mutual_info_score(factors[:, factor], factors[:, factor]), abs=1e-12)


@given(strategies.integers(0, 2**32 - 1), strategies.integers(2, 30), strategies.sampled_from([1e-3, 1.0, 1e4]))
def test_bins_are_those_of_a_histogram(seed, bins, scale):
    codes = scale * np.random.default_rng(seed).normal(size=(50, 2))
    expected = [np.digitize(code, np.histogram(code, bins)[1][:-1]) - 1 for code in codes.T]
    np.testing.assert_array_equal(discretize(codes, bins), np.stack(expected, axis=1))


def test_a_value_on_an_edge_falls_in_the_bin_above_it_and_the_largest_in_the_last():
    assert discretize(np.arange(6.0)[:, None], 5)[:, 0].tolist() == [0, 1, 2, 3, 4, 4]


def test_a_constant_dimension_is_one_bin_and_tells_nothing(grid, perfect, lookup):
    code = torch.cat([perfect, torch.full((60, 1), 0.3)], dim=1)
    matrix = mutual_information_gap(lookup(code), grid, seed=0).details["mutual_information"]
    assert matrix[3] == pytest.approx([0, 0, 0], abs=1e-12)


def test_confidence_is_the_spread_over_seeds(grid, perfect, lookup):
    encode = lookup(perfect + 0.5 * torch.randn(60, 3, dtype=torch.double))
    results = [mutual_information_gap(encode, grid, seed=seed, points=500) for seed in range(30)]
    spread = np.std([result.value for result in results])
    assert 0.5 < np.mean([result.confidence for result in results]) / spread < 2


@pytest.mark.parametrize("options", [{"points": 1}, {"bins": 1}, {"bins": 2.5}])
def test_bad_options_are_refused(grid, perfect, lookup, options):
    with pytest.raises(InvalidInputError, match=next(iter(options))):
        mutual_information_gap(lookup(perfect), grid, seed=0, **options)


def test_a_single_dimension_has_no_gap(grid, perfect, lookup):
    with pytest.raises(InvalidInputError, match="c_dim"):
        mutual_information_gap(lookup(perfect[:, :1]), grid, seed=0)


def test_the_value_does_not_depend_on_torchs_defaults(grid, perfect, lookup):
    noisy = perfect + torch.rand(perfect.shape)
    expected = mutual_information_gap(lookup(noisy), grid, seed=0)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert mutual_information_gap(lookup(noisy), grid, seed=0) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_seeds_are_numbers_in_range(grid, perfect, lookup):
    small, large = (mutual_information_gap(lookup(perfect), grid, seed=seed) for seed in (1, 1 + 2**32))
    assert small.value == mutual_information_gap(lookup(perfect), grid, seed=np.int64(1)).value != large.value
    for seed in -1, 2**64, 1.0, "1":
        with pytest.raises(InvalidInputError, match="seed must be"):
            mutual_information_gap(lookup(perfect), grid, seed=seed)
