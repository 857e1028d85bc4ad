from importlib import import_module

import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError
from idgan.metrics import factor_vae_metric

protocols = pytest.mark.parametrize("protocol", ["paper", "disentanglement_lib"])


def score(encode, grid, protocol="paper", **options):
    return factor_vae_metric(encode, grid, protocol=protocol, seed=0, **options)


@protocols
def test_perfect_code_scores_one(grid, perfect, lookup, protocol):
    result = score(lookup(perfect), grid, protocol)
    assert result.value == 1
    assert [row.index(max(row)) for row in result.details["votes"]] == [0, 1, 2]


@protocols
def test_random_code_scores_chance(noise, protocol):
    # Accuracy on the fitted votes is above 1 / F: each of 6 dims picks its luckiest factor out of ~133 votes.
    grid = FactorGrid((3, 2, 4, 3, 2), tuple("abcde"))
    bias = {"paper": 0.09, "disentanglement_lib": 0.025}[protocol]
    assert 1 / 5 - 0.025 < score(noise, grid, protocol).value < 1 / 5 + bias


def test_held_out_votes_are_not_the_trained_ones(grid, noise):
    # Three votes are remembered; on 5,000 others that memory is worth chance.
    result = score(noise, grid, "disentanglement_lib", votes=3)
    assert result.details["train_accuracy"] >= 2 / 3 and result.value == pytest.approx(1 / 3, abs=0.05)
    assert (
        result.value == result.details["eval_accuracy"] == pytest.approx(round(result.value * 5000) / 5000, abs=1e-12)
    )


def test_a_factor_the_code_ignores_costs_its_votes(grid, perfect, lookup):
    result = score(lookup(perfect[:, :2]), grid)
    assert result.value == pytest.approx(2 / 3, abs=4 * result.confidence)
    assert result.confidence == pytest.approx((2 / 9 / 800) ** 0.5, rel=0.05)


def test_rotation_lowers_the_score(grid, perfect, lookup):
    # Rows of the rotation mix all three factors alike, so that no dimension falls still when one factor does.
    rotation = torch.tensor([[1, 1, 1], [1, -1, 0], [1, 1, -2]]).double()
    assert score(lookup(perfect @ (rotation / rotation.norm(dim=1, keepdim=True)).T), grid).value < 0.9


@protocols
def test_permutation_scale_and_shift_leave_the_score(grid, perfect, lookup, protocol):
    mixed = perfect + 0.7 * torch.randn(60, 3, dtype=torch.double)
    before = score(lookup(mixed), grid, protocol).value
    assert 1 / 3 < before < 1
    moved = mixed[:, [2, 0, 1]] * torch.tensor([5.0, -2.0, 300.0]) + torch.tensor([1.0, 40.0, -3.0])
    assert score(lookup(moved), grid, protocol).value == before


def test_dimensions_below_the_threshold_are_dropped(grid, perfect, lookup):
    # Variance 0.04: under the paper's 0.05, above disentanglement_lib's 0.05 squared.
    code = torch.cat([perfect[:, :2], 0.2 * perfect[:, 2:]], dim=1)
    assert score(lookup(code), grid).details["kept_dims"] == [0, 1]
    assert score(lookup(code), grid, "disentanglement_lib").details["kept_dims"] == [0, 1, 2]


def test_a_constant_code_scores_zero_and_says_so(grid, lookup):
    result = score(lookup(torch.ones(60, 4)), grid)
    assert result.value == 0 and "every code dimension has variance under 0.05" in result.details["note"]


def test_global_variance_is_exact_over_the_grid(grid, perfect, lookup):
    assert score(lookup(3 * perfect), grid).details["variance"] == pytest.approx([9, 9, 9])
    assert score(lookup(3 * perfect), grid, variance_points=50).details["variance"] != pytest.approx(
        [9, 9, 9], rel=1e-6
    )


def test_few_large_calls_and_the_same_score_from_small_ones(grid, perfect, lookup, monkeypatch):
    sizes = []

    def encode(indices):
        sizes.append(len(indices))
        return lookup(mixed)(indices)

    mixed = perfect + 0.7 * torch.randn(60, 3, dtype=torch.double)
    large = score(encode, grid)
    assert len(sizes) == 3 and max(sizes) <= 65_536
    monkeypatch.setattr(import_module("idgan.metrics.factor_vae_metric"), "CHUNK", 250)
    small = score(encode, grid)
    assert len(sizes) > 400
    assert small.details["votes"] == large.details["votes"] and small.value == large.value


def test_protocol_states_what_was_done(grid, perfect, lookup):
    paper = score(lookup(perfect), grid)
    assert (
        paper.protocol.startswith("paper: train accuracy, 800 votes of 100; variance over the whole grid")
        and paper.samples == 80_000
    )
    fewer = score(lookup(perfect), grid, votes=50, variance_points=1000)
    assert "50 votes of 100; variance over 1000 points" in fewer.protocol and fewer.samples == 5_000
    library = score(lookup(perfect), grid, "disentanglement_lib")
    assert "eval accuracy, 10000 train + 5000 eval votes of 64" in library.protocol and library.samples == 960_000


def test_the_seed_decides(grid, noise, perfect, lookup):
    mixed = lookup(perfect + torch.randn(60, 3, dtype=torch.double))
    votes = [factor_vae_metric(mixed, grid, seed=seed).details["votes"] for seed in (1, 1, 2)]
    assert votes[0] == votes[1] != votes[2]


@pytest.mark.parametrize("options", [{"protocol": "papr"}, {"votes": 0}, {"votes": 2.5}, {"variance_points": 1}])
def test_bad_options_are_refused(grid, perfect, lookup, options):
    with pytest.raises(InvalidInputError, match=str(next(iter(options)))):
        factor_vae_metric(lookup(perfect), grid, seed=0, **options)
