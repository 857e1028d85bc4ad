import dataclasses

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from idgan.errors import InvalidInputError
from idgan.networks import BottleneckDiscriminatorConfig, ResNetGeneratorConfig, VAEConfig
from idgan.objectives import BottleneckGANConfig, BottleneckIDGANConfig

SMALL = {"resolution": 64, "base_width": 2, "max_width": 4, "image_channels": 1}


@pytest.fixture
def build():
    """`build(**settings)`: a `BottleneckIDGAN` on small networks for dSprites with the same weights each time."""

    def make(**settings):
        torch.manual_seed(0)
        generator = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build()
        return BottleneckIDGANConfig(**settings).build(
            VAEConfig(c_dim=4).build(), generator, BottleneckDiscriminatorConfig(**SMALL).build()
        )

    return make


def mean_kl(objective, batch):
    """KL of q(z|x) to N(0, I) for real and fake images, in nats a position, by torch.distributions."""
    images = batch.x * 2 - 1, objective.fakes(batch)
    posteriors = [objective.discriminator.encode(x) for x in images]
    kl = [kl_divergence(Normal(q.mean, (q.logvar / 2).exp()), Normal(0.0, 1.0)).sum(1).mean() for q in posteriors]
    return sum(kl) / 2


# ------------------------------------------------------------------ the multiplier


def test_settings_are_the_reference_s():
    config = BottleneckIDGANConfig()
    assert (config.bottleneck_capacity, config.bottleneck_beta, config.bottleneck_step, config.r1_weight) == (
        0.1,
        0.1,
        1e-5,
        10.0,
    )


def test_beta_rises_along_the_excess_of_the_kl(build, batches):
    objective = build(bottleneck_step=0.5)
    kl = mean_kl(objective, batches(0))
    losses = objective.losses("discriminator", batches(0))
    torch.testing.assert_close(losses.logged["bottleneck_kl"], kl)
    torch.testing.assert_close(losses.logged["bottleneck_beta"], torch.tensor(0.1))  # this step's, not the next one's
    torch.testing.assert_close(objective.bottleneck_beta, 0.1 + 0.5 * (kl.detach() - 0.1))


@pytest.mark.parametrize(("capacity", "moves"), [(0.0, 1), (1e3, -1)])
def test_beta_moves_towards_the_capacity_and_never_below_zero(build, batches, capacity, moves):
    objective = build(bottleneck_capacity=capacity, bottleneck_step=4e-5)
    betas = []
    for step in range(4):
        objective.losses("discriminator", batches(step))
        betas.append(objective.bottleneck_beta.item())
    if moves > 0:
        assert 0.1 < betas[0] < betas[1] < betas[2] < betas[3]
    else:
        assert betas == [pytest.approx(0.06, abs=1e-3), pytest.approx(0.02, abs=1e-3), 0.0, 0.0]


def test_the_loss_of_d_is_the_lagrangian(build, batches):
    """It is linear in beta, with slope KL - I_c; at beta 0 it is the loss without bottleneck."""
    losses = {beta: build(bottleneck_beta=beta).losses("discriminator", batches(0)) for beta in (0.0, 1.0)}
    kl = losses[0.0].logged["bottleneck_kl"]
    torch.testing.assert_close(losses[1.0].total - losses[0.0].total, kl - 0.1)
    logged = losses[0.0].logged
    torch.testing.assert_close(losses[0.0].total, logged["discriminator_loss"] + 10 * logged["r1"])


def test_only_d_s_phase_in_training_moves_beta(build, batches):
    objective = build(bottleneck_step=1.0)
    objective.losses("generator", batches(0))
    objective.eval().losses("discriminator", batches(0))
    assert objective.bottleneck_beta == torch.tensor(0.1)


def test_beta_is_in_the_state(build, batches):
    objective, restored = build(bottleneck_step=1.0), build()
    objective.losses("discriminator", batches(0))
    assert objective.bottleneck_beta != restored.bottleneck_beta
    restored.load_state_dict(objective.state_dict())
    assert torch.equal(restored.bottleneck_beta, objective.bottleneck_beta)


def test_a_larger_beta_makes_d_learn_less_of_its_images(build, batches, train_steps):
    kl = {}
    for beta in (0.0, 100.0):
        objective = build(bottleneck_beta=beta, bottleneck_step=0.0, r1_weight=0.0)
        train_steps(objective, [batches(step) for step in range(20)])
        kl[beta] = mean_kl(objective, batches(0))
    assert kl[100.0] < 0.8 * kl[0.0]


@pytest.mark.parametrize("name", ["bottleneck_capacity", "bottleneck_beta", "bottleneck_step"])
def test_negative_settings_are_refused(name):
    with pytest.raises(InvalidInputError, match=f"{name} must be 0 or more, got -1"):
        BottleneckIDGANConfig(**{name: -1.0})


# ------------------------------------------------------------------ the noise


def test_both_phases_read_draws_of_z_each_with_noise_of_its_own(build, batches):
    objective, batch = build(), batches(0)
    x = batch.x * 2 - 1
    posterior = objective.discriminator.encode(x)
    first, second = objective.logits(x, batch), objective.logits(x, batch)
    assert not torch.equal(first, second)

    again, shape = batches(0), posterior.mean.shape
    noise = again.normal(posterior.mean[0].numel()).view(shape)
    torch.testing.assert_close(
        first, objective.discriminator.logits_of(posterior.mean + (posterior.logvar / 2).exp() * noise)
    )


def test_without_variance_d_reads_the_mean(build, batches):
    objective, batch = build(), batches(0)
    with torch.no_grad():
        objective.discriminator.gaussian.bias[4:] = -40  # log standard deviation
        objective.discriminator.gaussian.weight[4:] = 0
    x = batch.x * 2 - 1
    torch.testing.assert_close(
        objective.logits(x, batch), objective.discriminator.logits_of(objective.discriminator.encode(x).mean)
    )


# ------------------------------------------------------------------ without a code


def test_the_gan_with_a_bottleneck_draws_from_the_prior_and_has_the_same_loss_of_d(build, batches):
    torch.manual_seed(0)
    generator = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build()
    networks = VAEConfig(c_dim=4).build(), generator, BottleneckDiscriminatorConfig(**SMALL).build()
    alone, with_code = BottleneckGANConfig().build(*networks), build()
    assert (alone.prior, with_code.prior) == ("normal", "aggregated")
    assert torch.equal(alone.latents(batches(0))[0], batches(0).normal(4))
    losses = alone.losses("discriminator", batches(0))
    assert losses.logged.keys() == with_code.losses("discriminator", batches(0)).logged.keys()
    assert alone.bottleneck_beta != 0.1
    assert alone.losses("generator", batches(0)).logged.keys() == {"generator_loss"}


# ------------------------------------------------------------------ several processes, settings


TWO_PROCESSES = """
import os, torch, torch.distributed as dist
from idgan.networks import BottleneckDiscriminatorConfig, ResNetGeneratorConfig, VAEConfig
from idgan.objectives import BottleneckIDGANConfig
dist.init_process_group("gloo")
size = {"resolution": 64, "base_width": 2, "max_width": 4, "image_channels": 1}
generator = ResNetGeneratorConfig(c_dim=4, s_dim=3, **size).build()
networks = VAEConfig(c_dim=4).build(), generator, BottleneckDiscriminatorConfig(**size).build()
objective = BottleneckIDGANConfig(bottleneck_step=0.5).build(*networks)
kl = torch.tensor(1.0 + 2 * dist.get_rank())
print(objective.next_beta(kl).item(), kl.item())
dist.destroy_process_group()
"""


def test_processes_keep_one_beta(two_processes):
    printed = [[float(value) for value in output.split()] for output in two_processes(TWO_PROCESSES)]
    beta = 0.1 + 0.5 * (2.0 - 0.1)  # KL 1 here and 3 there
    assert printed == [[pytest.approx(beta), 1.0], [pytest.approx(beta), 3.0]]  # and each KL is left as it was


def test_a_config_is_a_kind_of_id_gan_s():
    config = BottleneckIDGANConfig(id_weight=1e-4)
    assert dataclasses.replace(config, r1_interval=16).id_weight == 1e-4
    with pytest.raises(InvalidInputError, match="r1_interval"):
        dataclasses.replace(config, r1_interval=0)
