import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from idgan.data import Batches, DSprites
from idgan.errors import InvalidInputError
from idgan.objectives import (
    BetaTCVAEConfig,
    BetaVAEConfig,
    CapacityFactorVAEConfig,
    CapacityVAEConfig,
    FactorVAEConfig,
    terms,
)


def total(objective, batch):
    return objective.losses("vae", batch).total


def elbo(vae, batch):
    """The evidence lower bound by torch.distributions with the batch's first noise, that draw, and the posterior."""
    posterior = vae.encode(batch.x)
    normal = Normal(posterior.mean, (posterior.logvar / 2).exp())
    c = normal.loc + normal.scale * batch.normal(vae.config.c_dim)
    likelihood = Bernoulli(logits=vae.decode_logits(c)).log_prob(batch.x).sum((1, 2, 3))
    return (likelihood - kl_divergence(normal, Normal(0.0, 1.0)).sum(1)).mean(), c, normal


def test_beta_1_is_minus_the_elbo(build, batches):
    objective = build(BetaVAEConfig(beta=1.0))
    bound, _, _ = elbo(objective.vae, batches(0))
    torch.testing.assert_close(total(objective, batches(0)), -bound)


def test_beta_weighs_the_kl_and_nothing_else(build, batches):
    for beta in (0.0, 4.0):
        losses = build(BetaVAEConfig(beta=beta)).losses("vae", batches(0))
        torch.testing.assert_close(losses.total, losses.logged["reconstruction"] + beta * losses.logged["kl"])


def test_squared_error_replaces_the_likelihood(build, batches):
    objective = build(BetaVAEConfig(beta=1.0, likelihood="squared-error"))
    _, c, normal = elbo(objective.vae, batches(0))
    distance = (objective.vae.decode(c) - batches(0).x).square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(
        total(objective, batches(0)), distance + kl_divergence(normal, Normal(0.0, 1.0)).sum(1).mean()
    )


@pytest.mark.parametrize(
    "config", [BetaVAEConfig, CapacityVAEConfig, BetaTCVAEConfig, FactorVAEConfig, CapacityFactorVAEConfig]
)
def test_an_unknown_likelihood_is_refused_at_once(config):
    with pytest.raises(InvalidInputError, match="one of bernoulli, squared-error, got 'gaussian'"):
        config(likelihood="gaussian")


# ------------------------------------------------------------------ capacity


@pytest.mark.parametrize(("step", "share"), [(0, 0.0), (50, 0.5), (75, 0.75), (100, 1.0), (101, 1.0), (10_000, 1.0)])
def test_capacity_rises_linearly_and_then_stays(build, batches, step, share):
    objective = build(CapacityVAEConfig(capacity=20.0, capacity_steps=100, weight=3.0))
    losses = objective.losses("vae", batches(step))
    kl = losses.logged["kl"]
    torch.testing.assert_close(losses.total, losses.logged["reconstruction"] + 3 * abs(kl - 20 * share))


def test_the_kl_is_pulled_to_the_capacity_from_either_side():
    for kl, slope in ((15.0, -3.0), (25.0, 3.0)):
        kl = torch.tensor(kl, requires_grad=True)
        terms.capacity_penalty(kl, 20.0, weight=3.0).backward()
        assert kl.grad == slope


@pytest.mark.parametrize("config", [CapacityVAEConfig, CapacityFactorVAEConfig])
def test_a_schedule_needs_a_step(config):
    with pytest.raises(InvalidInputError, match="capacity_steps must be an integer of 1 or more, got 0"):
        config(capacity_steps=0)


def test_the_total_correlation_may_be_left_out_and_no_more():
    assert BetaTCVAEConfig(tc_weight=-1.0).tc_weight == -1
    with pytest.raises(InvalidInputError, match="tc_weight must be -1 or more, got -1.5"):
        BetaTCVAEConfig(tc_weight=-1.5)


# ------------------------------------------------------------------ total correlation


def test_beta_tcvae_without_extra_weight_has_the_one_sample_kl(build, batches):
    objective = build(BetaTCVAEConfig(tc_weight=0.0))
    _, c, normal = elbo(objective.vae, batches(0))
    losses = objective.losses("vae", batches(0))
    one_sample_kl = (normal.log_prob(c) - Normal(0.0, 1.0).log_prob(c)).sum(1).mean()
    torch.testing.assert_close(losses.total - losses.logged["reconstruction"], one_sample_kl, rtol=1e-3, atol=1e-3)


def test_beta_tcvae_weighs_each_part(build, batches):
    plain = build(BetaTCVAEConfig(tc_weight=0.0)).losses("vae", batches(0))
    tc, index_code = plain.logged["tc"], plain.logged["index_code"]
    more_tc, no_index_code = BetaTCVAEConfig(tc_weight=5.0), BetaTCVAEConfig(tc_weight=0.0, index_code_weight=0.0)
    torch.testing.assert_close(total(build(more_tc), batches(0)), plain.total + 5 * tc)
    torch.testing.assert_close(total(build(no_index_code), batches(0)), plain.total - index_code)
    only_dimensions = BetaTCVAEConfig(tc_weight=-1.0, index_code_weight=0.0, dimension_weight=2.0)
    rest = plain.total - plain.logged["reconstruction"] - tc - index_code
    torch.testing.assert_close(
        total(build(only_dimensions), batches(0)), plain.logged["reconstruction"] + 2 * rest, rtol=1e-3, atol=1e-3
    )


def test_what_beta_tcvae_logs_counts_the_images_of_the_data_set(build, batches):
    """By minibatch-weighted sampling of 4 of 737,280, against the same 4 as all there are."""
    few = batches(0)
    few.data_size = 1
    logged = [build(BetaTCVAEConfig()).losses("vae", batch).logged for batch in (batches(0), few)]
    by, c_dim = math.log(737_280), 4
    assert (logged[0]["index_code"] - logged[1]["index_code"]).item() == pytest.approx(by, rel=1e-4)
    assert (logged[0]["tc"] - logged[1]["tc"]).item() == pytest.approx((c_dim - 1) * by, rel=1e-4)


def test_factor_vae_without_weight_is_the_vae(build, batches):
    torch.testing.assert_close(
        total(build(FactorVAEConfig(tc_weight=0.0)), batches(0)), total(build(BetaVAEConfig(beta=1.0)), batches(0))
    )


def test_capacity_factor_vae_without_weight_is_the_capacity_vae(build, batches):
    schedule = {"capacity": 9.0, "capacity_steps": 10, "weight": 7.0}
    with_tc, without = CapacityFactorVAEConfig(tc_weight=0.0, **schedule), CapacityVAEConfig(**schedule)
    for step in (0, 5, 20):
        assert torch.equal(total(build(with_tc), batches(step)), total(build(without), batches(step)))


@pytest.mark.parametrize("config", [FactorVAEConfig, CapacityFactorVAEConfig])
def test_factor_vae_adds_the_tc_discriminators_log_odds_of_the_codes(build, batches, config):
    objective, plain = build(config(tc_weight=10.0)), build(config(tc_weight=0.0))
    _, c, _ = elbo(objective.vae, batches(3))
    logits = objective.tc_discriminator(c)
    torch.testing.assert_close(
        total(objective, batches(3)), total(plain, batches(3)) + 10 * (logits[:, 0] - logits[:, 1]).mean()
    )


def test_factor_vae_compares_codes_of_one_half_with_permuted_codes_of_the_other(build, batches):
    objective = build(FactorVAEConfig())
    loss = objective.losses("tc_discriminator", batches(0)).total
    batch = batches(0)
    _, c, _ = elbo(objective.vae, batch)
    ranks = batch.uniform(4)  # drawn after the noise of the codes
    joint, product = c[:2], torch.stack([c[2:, d][ranks[2:, d].argsort()] for d in range(4)], 1)
    log_p = objective.tc_discriminator(torch.cat([joint, product])).log_softmax(1)
    torch.testing.assert_close(loss, -(log_p[:2, 0].sum() + log_p[2:, 1].sum()) / 4)


def test_the_tc_discriminator_needs_two_images(build):
    with pytest.raises(InvalidInputError, match="2 images or more"):
        build(FactorVAEConfig()).losses("tc_discriminator", Batches(DSprites(), batch_size=1, seed=0)(0))


def test_the_tc_discriminators_loss_does_not_reach_the_vae(build, batches):
    objective = build(FactorVAEConfig())
    objective.losses("tc_discriminator", batches(0)).total.backward()
    assert all(parameter.grad is None for parameter in objective.vae.parameters())


def test_factor_vae_encodes_a_batch_once_for_both_phases(build, batches):
    objective, batch, calls = build(FactorVAEConfig()), batches(0), []
    objective.vae.encoder.register_forward_hook(lambda *_: calls.append(1))
    for phase in objective.phases:
        objective.losses(phase, batch)
    assert len(calls) == 1


def test_the_tc_discriminator_learns_to_separate_repeated_dimensions_from_independent_ones(build, batches):
    objective, many = build(FactorVAEConfig()), Batches(batches.dataset, batch_size=64, seed=0)
    optimizer = torch.optim.Adam(objective.parameters_of("tc_discriminator"), 3e-3)
    losses = []
    for step in range(80):
        batch = many(step)
        codes = batch.normal(1).repeat(1, 4)
        batch.once("codes", lambda codes=codes: (None, codes))
        loss = objective.losses("tc_discriminator", batch).total
        optimizer.zero_grad()
        loss.backward(inputs=objective.parameters_of("tc_discriminator"))
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(2), abs=0.05)  # chance
    assert max(losses[-10:]) < 0.4
