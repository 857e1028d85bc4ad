import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.metrics import separated_attribute_predictability as sap

sklearn = pytest.importorskip("sklearn")
SMALL = {"seed": 0, "train_points": 800, "test_points": 800}


@pytest.fixture
def binary():
    """Two-valued factors: with more, no linear classifier of one number can tell the middle ones."""
    return FactorGrid((2, 2, 2), ("a", "b", "c"))


def test_perfect_code_gains_all_that_guessing_misses(binary, lookup):
    codes = 2.0 * binary.factors(torch.arange(8)) - 1
    result = sap(lookup(codes), binary, **SMALL)
    assert result.value == pytest.approx(0.5, abs=4 * result.confidence)
    accuracy = torch.tensor(result.details["accuracy"])
    assert result.versions["scikit-learn"] == sklearn.__version__
    assert accuracy.diagonal().tolist() == [1, 1, 1] and accuracy.fill_diagonal_(0).max() < 0.6


def test_a_copied_dimension_closes_the_gap(binary, lookup):
    codes = 2.0 * binary.factors(torch.arange(8))[:, [0, 0, 1, 1, 2, 2]] - 1
    assert sap(lookup(codes), binary, **SMALL).value == 0


def test_noise_scores_near_zero(binary, noise):
    assert sap(noise, binary, **SMALL).value < 0.03
