"""Every stated confidence is one standard deviation of the value over repeats, to within a third.

Fréchet and kernel distances have such tests in their own files.
"""

import numpy as np
import pytest
import torch

from idgan.data import FactorGrid
from idgan.metrics import (
    aggregated_posterior_entropy,
    beta_vae_metric,
    code_alignment,
    factor_vae_metric,
    mutual_information_gap,
    r_id,
    separated_attribute_predictability,
)

REPEATS = 60
GRID = FactorGrid((3, 6, 20, 16, 16), ("shape", "scale", "orientation", "x", "y"))


def encode(indices):
    """Codes of a mixed encoder: two factors each on an axis of its own, two rotated into each other, and noise."""
    f = GRID.factors(indices).double() / torch.tensor(GRID.sizes)
    noise = torch.sin(1e4 * indices.double()[:, None] * torch.tensor([1.0, 2.3, 3.1, 4.7]))
    mixed = torch.stack([f[:, 1], f[:, 2] + 0.4 * f[:, 3], 0.5 * f[:, 3] - 0.4 * f[:, 2], f[:, 4] * f[:, 0]], dim=1)
    return (mixed + 0.2 * noise).float()


def ratio(measured):
    """Root mean square of the stated confidences over the deviation of the values, for results of other seeds."""
    values = [result.value for result in measured]
    return np.sqrt(np.mean([result.confidence**2 for result in measured])) / np.std(values, ddof=1)


def of_grid(metric, **options):
    return lambda seed: metric(encode, GRID, seed=seed, **options)


def entropy(seed):
    rng = torch.Generator().manual_seed(99)
    bank = torch.randn(200, 4, generator=rng), torch.rand(200, 4, generator=rng) - 2
    return aggregated_posterior_entropy(*bank, samples=300, seed=seed)


def alignment(seed):
    rng = torch.Generator().manual_seed(seed)
    c = torch.randn(200, 4, generator=rng)
    shared = torch.randn(200, 1, generator=rng)  # an image that is bad is bad in all dimensions
    return code_alignment(c + shared * torch.rand(200, 4, generator=rng), c, active=[True] * 4, seed=seed)


def information(seed):
    rng = torch.Generator().manual_seed(seed)
    return r_id(-torch.randn(200, generator=rng).exp(), entropy(seed), seed=seed)


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(of_grid(factor_vae_metric, votes=200), id="fvm"),
        pytest.param(of_grid(mutual_information_gap, points=1000), id="mig"),
        pytest.param(entropy, id="entropy"),
        pytest.param(alignment, id="alignment"),
        pytest.param(information, id="r_id"),
    ],
)
def test_confidence_is_the_deviation_over_repeats(measure):
    assert 0.7 < ratio([measure(seed) for seed in range(REPEATS)]) < 1.4


@pytest.mark.parametrize(
    "measure",
    [
        pytest.param(of_grid(beta_vae_metric, train_votes=1000, eval_votes=300, pairs=8), id="beta-vae"),
        pytest.param(of_grid(separated_attribute_predictability, train_points=2000, test_points=300), id="sap"),
    ],
)
def test_confidence_of_a_classifier_is_the_deviation_over_repeats(measure):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    assert 0.7 < ratio([measure(seed) for seed in range(REPEATS // 2)]) < 1.5


def test_the_confidence_of_held_out_votes():
    from idgan.metrics.factor_vae_metric import FVM_PROTOCOLS, VoteProtocol

    short = VoteProtocol(1000, 300, vote_size=64, variance_points=1000, min_variance=0.05**2)
    before = FVM_PROTOCOLS["disentanglement_lib"]
    FVM_PROTOCOLS["disentanglement_lib"] = short
    try:
        measured = [factor_vae_metric(encode, GRID, seed=s, protocol="disentanglement_lib") for s in range(REPEATS)]
    finally:
        FVM_PROTOCOLS["disentanglement_lib"] = before
    assert 0.7 < ratio(measured) < 1.4
