import pytest
import torch

from idgan.metrics import beta_vae_metric

pytest.importorskip("sklearn")
SMALL = {"seed": 0, "train_votes": 400, "eval_votes": 400, "pairs": 32}


def test_perfect_code_scores_one(grid, perfect, lookup):
    result = beta_vae_metric(lookup(perfect), grid, **SMALL)
    assert result.value == 1 and result.samples == 2 * 800 * 32


def test_noise_scores_chance(grid, noise):
    result = beta_vae_metric(noise, grid, **SMALL)
    assert result.value == pytest.approx(1 / 3, abs=4 * result.confidence)
    assert result.details["train_accuracy"] >= result.value - 0.05


def test_a_factor_the_code_ignores_is_still_told_by_elimination(grid, perfect, lookup):
    # Known weakness of this metric, the reason for the FactorVAE one.
    assert beta_vae_metric(lookup(perfect[:, :2]), grid, **SMALL).value > 0.95


def test_scoring_is_on_votes_never_trained_on(grid, lookup):
    # 6 training votes over 50 noisy dims are fitted perfectly; held-out ones are not.
    result = beta_vae_metric(lookup(torch.randn(60, 50)), grid, **{**SMALL, "train_votes": 6, "pairs": 1})
    assert result.details["train_accuracy"] > 0.9 and result.value < 0.8
