import numpy as np
import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.metrics import kid
from idgan.metrics.kernel_distance import squared_mmd


def test_agrees_with_the_definition_point_by_point():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 3)), random.normal(size=(4, 3))

    def mean(a, b, skip_same):
        values = [(p @ q / 3 + 1) ** 3 for i, p in enumerate(a) for j, q in enumerate(b) if not (skip_same and i == j)]
        return sum(values) / len(values)

    assert squared_mmd(x, y) == pytest.approx(mean(x, x, True) + mean(y, y, True) - 2 * mean(x, y, False))


def test_unbiased_however_few_the_samples():
    # In one dimension the kernel compares three moments: MMD^2 = 3 (m1 - m1')^2 + 3 (m2 - m2')^2 + (m3 - m3')^2.
    random = np.random.default_rng(0)
    for shift in (0.0, 0.5):
        values = [squared_mmd(random.normal(size=(20, 1)), random.normal(size=(20, 1)) + shift) for _ in range(4000)]
        expected = 3 * shift**2 + 3 * shift**4 + (shift**3 + 3 * shift) ** 2
        assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / 4000**0.5)


def test_same_distribution_is_near_zero_and_another_is_not():
    a, b = torch.randn(600, 8), torch.randn(500, 8)
    options = {"features": "noise", "seed": 0, "subsets": 20, "subset_size": 200}
    same, other = kid(a, b, **options), kid(a, b + 0.5, **options)
    assert abs(same.value) < 2 * same.confidence
    assert other.value > 10 * abs(same.value)
    assert same == kid(a, b, **options)
    assert same.protocol == "noise; 600 real vs 500 generated, 20 subsets of 200"


def test_too_few_samples_are_refused():
    with pytest.raises(InvalidInputError, match="generated_samples must be an integer of 1000 or more, got 10"):
        kid(np.zeros((2000, 2)), np.zeros((10, 2)), features="", seed=0)
    with pytest.raises(InvalidInputError, match="2 dimensions, generated ones 3"):
        kid(np.zeros((10, 2)), np.zeros((10, 3)), features="", seed=0)


@pytest.mark.parametrize("size", [25, 50])
def test_confidence_is_the_deviation_over_repeated_draws(size):
    random = np.random.default_rng(0)
    sets = [(random.normal(size=(100, 2)), random.normal(size=(100, 2)) + 0.7) for _ in range(100)]
    results = [kid(a, b, features="noise", seed=0, subsets=50, subset_size=size) for a, b in sets]
    stated = np.sqrt(np.mean([result.confidence**2 for result in results]))
    assert stated == pytest.approx(np.std([result.value for result in results], ddof=1), rel=0.25)
    # The deviation over subsets is that of a single subset, and depends on its size.
    assert results[0].confidence == pytest.approx(
        results[0].details["subset_deviation"] * (size / (100 - size) + 1 / 50) ** 0.5
    )


def test_a_subset_that_is_all_of_a_set_has_no_confidence():
    a, b = np.random.default_rng(0).normal(size=(2, 20, 3))
    assert kid(a, b, features="noise", seed=0, subsets=3, subset_size=20).confidence is None
