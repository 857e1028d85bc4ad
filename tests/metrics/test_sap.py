import numpy as np
import pytest
import torch

from idgan.data.factors import FactorGrid
from idgan.metrics import separated_attribute_predictability as sap
from idgan.metrics.sap import linear_svm

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
    assert accuracy.diagonal().tolist() == [1, 1, 1] and accuracy.fill_diagonal_(0).max() < 0.6


def test_a_copied_dimension_closes_the_gap(binary, lookup):
    codes = 2.0 * binary.factors(torch.arange(8))[:, [0, 0, 1, 1, 2, 2]] - 1
    assert sap(lookup(codes), binary, **SMALL).value == 0


def test_noise_scores_near_zero(binary, noise):
    assert sap(noise, binary, **SMALL).value < 0.03


@pytest.mark.parametrize(("classes", "spread", "shift"), [(2, 1.0, 0.0), (3, 0.01, -2.0), (8, 0.3, 0.0), (40, 3.0, 5.0)])
def test_lines_are_those_of_scikit_learn(classes, spread, shift):
    svm = pytest.importorskip("sklearn.svm", reason="scikit-learn is not installed")
    random = np.random.default_rng(classes)
    labels = np.concatenate([np.arange(classes), random.integers(0, classes, 800) ** 2 // classes])  # of unequal sizes
    x = 3 * labels / classes + spread * random.normal(size=len(labels)) + shift
    model = svm.LinearSVC(C=0.01, class_weight="balanced", tol=1e-10, max_iter=10_000).fit(x[:, None], labels)
    slopes, intercepts = linear_svm(x, labels)
    np.testing.assert_allclose(slopes, model.coef_[:, 0], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(intercepts, model.intercept_, rtol=1e-5, atol=1e-7)


def test_a_constant_code_has_no_slope_and_guesses(binary, lookup):
    slopes, intercepts = linear_svm(np.zeros(6), np.array([0, 0, 0, 1, 1, 2]))
    assert not slopes.any() and np.isfinite(intercepts).all()
    assert sap(lookup(torch.zeros(8, 2)), binary, **SMALL).value == 0
    assert linear_svm(np.arange(3.0), np.zeros(3, dtype=int))[1] > 0  # one class, and no rest


def test_accuracies_do_not_depend_on_the_order_of_dimensions(binary, lookup):
    codes = 2.0 * binary.factors(torch.arange(8)) - 1 + 0.5 * torch.randn(8, 3)
    there, back = (torch.tensor(sap(lookup(order), binary, **SMALL).details["accuracy"]) for order in (codes, codes.flip(1)))
    assert torch.equal(there, back.flip(0)) and there.max() > 0.9
