import math

import numpy as np
import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.metrics import aggregated_posterior_entropy, mixture_log_density, r_id
from idgan.networks.vae import Posterior


def entropy_of(mean, logvar, **options):
    return aggregated_posterior_entropy(mean, logvar, **{"seed": 0, "samples": 4000, **options})


@pytest.mark.parametrize("copies", [1, 5])
def test_one_posterior_has_the_entropy_of_a_gaussian(copies):
    logvar = torch.tensor([[0.0, -2.0, 1.0]]).repeat(copies, 1)
    result = entropy_of(torch.ones(copies, 3), logvar)
    closed_form = 1.5 * math.log(2 * math.pi * math.e) + logvar[0].sum().item() / 2
    assert result.value == pytest.approx(closed_form, abs=4 * result.confidence)
    assert result.details["ceiling"] == pytest.approx(closed_form + math.log(copies), abs=1e-5)


def test_disjoint_posteriors_reach_the_ceiling():
    result = entropy_of(100 * torch.arange(8.0)[:, None], torch.zeros(8, 1))
    assert result.value == pytest.approx(result.details["ceiling"], abs=4 * result.confidence)


def test_a_bank_drawn_from_the_prior_has_the_entropy_of_the_prior():
    # means ~ N(0, 0.75), variance 0.25: the aggregate is N(0, 1).
    result = entropy_of(0.75**0.5 * torch.randn(4000, 1), torch.full((4000, 1), math.log(0.25)))
    assert result.value == pytest.approx(0.5 * math.log(2 * math.pi * math.e), abs=0.05)


def test_density_is_that_of_the_mixture():
    mean, logvar, c = torch.randn(7, 3), torch.randn(7, 3), 2 * torch.randn(50, 3)
    parts = torch.distributions.Independent(torch.distributions.Normal(mean.double(), (logvar.double() / 2).exp()), 1)
    mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(torch.ones(7)), parts)
    torch.testing.assert_close(mixture_log_density(c, mean, logvar), mixture.log_prob(c.double()), rtol=0, atol=1e-6)


def test_density_of_sharp_posteriors_keeps_its_digits():
    mean, logvar = torch.full((1, 1), 3.0), torch.full((1, 1), -14.0)
    assert mixture_log_density(mean, mean, logvar).item() == pytest.approx(7 - 0.5 * math.log(2 * math.pi), abs=1e-6)


def test_density_does_not_depend_on_how_codes_are_split():
    mean, logvar, c = torch.randn(3000, 2), torch.randn(3000, 2), torch.randn(5000, 2)
    one_by_one = torch.cat([mixture_log_density(c[i : i + 1], mean, logvar) for i in (0, 3332, 3333, 4999)])
    torch.testing.assert_close(mixture_log_density(c, mean, logvar)[[0, 3332, 3333, 4999]], one_by_one)


def test_the_exact_posterior_attains_the_mutual_information():
    # c ~ N(0, I), x = c + sigma n: I(c; x) = D/2 log(1 + 1 / sigma^2), and q(c|x) = N(x, sigma^2) / (1 + sigma^2).
    dims, variance = 3, 0.25
    c = torch.randn(4000, dims)
    x = c + variance**0.5 * torch.randn(4000, dims)
    posterior = Posterior(x / (1 + variance), torch.full_like(x, math.log(variance / (1 + variance))))
    result = r_id(posterior.log_prob(c), entropy_of(torch.zeros(1, dims), torch.zeros(1, dims)), seed=0)
    assert result.value == pytest.approx(dims / 2 * math.log(1 + 1 / variance), abs=4 * result.confidence)
    assert 0 < result.confidence < 0.1


def test_the_result_carries_how_entropy_was_estimated():
    entropy = entropy_of(torch.zeros(2, 1), torch.zeros(2, 1), samples=20)
    result = r_id(np.array([-1.0, -3.0]), entropy, seed=5)
    assert result.value == pytest.approx(entropy.value - 2)
    assert result.confidence == pytest.approx((1 + entropy.confidence**2) ** 0.5)
    assert "20 samples of the mixture of 2 posteriors" in result.protocol
    assert result.details["entropy"] == entropy.to_dict() and result.seed == 5


def test_bad_input_is_named():
    entropy = entropy_of(torch.zeros(2, 1), torch.zeros(2, 1))
    with pytest.raises(InvalidInputError, match="log_q"):
        r_id(torch.tensor([0.0, float("nan")]), entropy, seed=0)
    with pytest.raises(InvalidInputError, match="logvar"):
        entropy_of(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InvalidInputError, match="samples must be an integer of 2 or more, got 1"):
        entropy_of(torch.zeros(2, 1), torch.zeros(2, 1), samples=1)


@pytest.mark.parametrize("distance, saturated", [(3.5, True), (0.5, False)])
def test_an_entropy_near_its_ceiling_is_called_so(distance, saturated):
    result = entropy_of(distance * torch.arange(50.0)[:, None], torch.zeros(50, 1))
    gap = result.details["ceiling"] - result.value
    assert 0 < gap < 1 if saturated else gap > 1
    assert result.details["saturated"] is saturated
    assert f"50 posteriors, {result.value:.3f} of at most {result.details['ceiling']:.3f} nats" in result.protocol
    carried = r_id(np.zeros(5), result, seed=0).protocol
    assert ("limited by the size of the bank" in carried) is saturated


def test_one_posterior_is_no_small_bank():
    result = entropy_of(torch.zeros(1, 2), torch.zeros(1, 2))
    assert result.details["saturated"] is False and "limited" not in result.protocol
