import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.objectives import (
    BetaTCVAEConfig,
    BetaVAEConfig,
    EndToEndIDGANConfig,
    FactorVAEConfig,
    IDGANConfig,
    VAEGANConfig,
)


def total(objective, phase, batch):
    return objective.losses(phase, batch).total


# ------------------------------------------------------------------ VAE-GAN


def test_vae_gan_without_adversarial_weight_is_the_beta_vae(build, batches, gradients):
    joint, alone = (
        build(VAEGANConfig(stage_1=BetaVAEConfig(beta=8.0), adversarial_weight=0.0)),
        build(BetaVAEConfig(beta=8.0)),
    )
    assert torch.equal(total(joint, "vae", batches(0)), total(alone, "vae", batches(0)))
    ours, _ = gradients(joint, "vae", batches(0))
    theirs, _ = gradients(alone, "vae", batches(0))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(gradient, theirs[name]) for name, gradient in ours.items())


def test_vae_gan_adds_the_adversarial_loss_of_what_it_decodes(build, batches):
    weighted, without = (build(VAEGANConfig(adversarial_weight=weight)) for weight in (3.0, 0.0))
    batch = batches(0)
    posterior = weighted.vae.encode(batch.x)
    x_fake = 2 * weighted.vae.decode(posterior.sample(batch.normal(4))) - 1
    expected = -weighted.discriminator(x_fake).sigmoid().log().mean()
    torch.testing.assert_close(
        total(weighted, "vae", batches(0)) - total(without, "vae", batches(0)), 3 * expected, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(weighted.losses("vae", batches(0)).logged["generator_loss"], expected)


def test_vae_gans_adversarial_loss_moves_encoder_and_decoder(build, batches, gradients):
    given = {}
    for weight in (0.0, 1.0):
        given[weight], _ = gradients(build(VAEGANConfig(adversarial_weight=weight)), "vae", batches(0))
    changed = {name for name, gradient in given[1.0].items() if not torch.equal(gradient, given[0.0][name])}
    assert {name.split(".")[1] for name in changed} == {"encoder", "decoder"}


def test_vae_gans_discriminator_tells_images_from_reconstructions(build, batches):
    objective = build(VAEGANConfig(r1_weight=0.0))
    batch = batches(0)
    c = objective.vae.encode(batch.x).sample(batch.normal(4))
    real, fake = (objective.discriminator(2 * x - 1).sigmoid() for x in (batch.x, objective.vae.decode(c)))
    losses = objective.losses("discriminator", batches(0))
    torch.testing.assert_close(losses.total, -(real.log().mean() + (1 - fake).log().mean()))
    losses.total.backward()
    assert all(parameter.grad is None for parameter in objective.vae.parameters())


def test_vae_gans_generator_is_its_vae_and_decodes_once_a_batch(build, batches, train_steps):
    objective, calls = build(VAEGANConfig()), []
    assert objective.generator is objective.vae
    objective.vae.decoder.register_forward_hook(lambda *_: calls.append(1))
    train_steps(objective, [batches(0)])
    assert len(calls) == 1


def test_a_negative_adversarial_weight_is_refused():
    with pytest.raises(InvalidInputError, match="adversarial_weight must be 0 or more, got -1"):
        VAEGANConfig(adversarial_weight=-1.0)


# ------------------------------------------------------------------ end to end


@pytest.mark.parametrize("id_weight", [0.0, 0.5])
@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_to_d_and_g_end_to_end_is_id_gan_with_the_encoder_of_the_moment(build, batches, gradients, phase, id_weight):
    ours, losses = gradients(build(EndToEndIDGANConfig(id_weight=id_weight)), phase, batches(0))
    theirs, expected = gradients(build(IDGANConfig(id_weight=id_weight)), phase, batches(0))
    assert torch.equal(losses.total, expected.total)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name])


@pytest.mark.parametrize(
    "stage_1", [BetaVAEConfig(beta=8.0), FactorVAEConfig(), BetaTCVAEConfig()], ids=lambda config: type(config).__name__
)
def test_the_vae_descends_the_sum_of_both_objectives(build, batches, stage_1):
    joint, alone = build(EndToEndIDGANConfig(id_weight=0.5, stage_1=stage_1)), build(stage_1)
    if "tc_discriminator" in joint.phases:
        joint.stage_1.tc_discriminator = alone.tc_discriminator
    expected = total(alone, "vae", batches(0)) + total(build(IDGANConfig(id_weight=0.5)), "generator", batches(0))
    torch.testing.assert_close(total(joint, "vae", batches(0)), expected)


def test_d_and_g_are_given_codes_without_gradients(build, batches):
    assert not build(EndToEndIDGANConfig()).latents(batches(0))[1].requires_grad


def test_blind_to_the_gan_the_vae_trains_as_in_stage_1(build, batches, gradients):
    """Without distillation, and with a generator that does not read c, nothing of the GAN reaches the VAE."""
    joint = build(EndToEndIDGANConfig(id_weight=0.0, stage_1=BetaVAEConfig(beta=8.0)))
    with torch.no_grad():
        joint.generator.layers[0].weight[:, -4:] = 0
    ours, _ = gradients(joint, "vae", batches(0))
    theirs, _ = gradients(build(BetaVAEConfig(beta=8.0)), "vae", batches(0))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(gradient, theirs[name]) for name, gradient in ours.items())


@pytest.mark.parametrize(("id_weight", "reads_code"), [(0.0, True), (0.5, False)])
def test_the_gan_moves_the_encoder_by_the_codes_and_by_what_it_reads_and_not_the_decoder(
    build, batches, gradients, id_weight, reads_code
):
    joint = build(EndToEndIDGANConfig(id_weight=id_weight))
    if not reads_code:
        nn.init.zeros_(joint.generator.layers[0].weight)
    ours, _ = gradients(joint, "vae", batches(0))
    theirs, _ = gradients(build(BetaVAEConfig()), "vae", batches(0))
    changed = {name for name, gradient in ours.items() if not torch.allclose(gradient, theirs[name], rtol=1e-6, atol=0)}
    assert {name.split(".")[1] for name in changed} == {"encoder"}
    assert len(changed) == 12


@pytest.mark.parametrize("config", [EndToEndIDGANConfig, VAEGANConfig])
def test_stage_1_brings_its_own_phases(build, batches, gradients, train_steps, config):
    objective = build(config(stage_1=FactorVAEConfig()))
    assert [*objective.phases][:3] == ["discriminator", "vae", "tc_discriminator"]
    given, _ = gradients(objective, "tc_discriminator", batches(0))
    assert {name.rsplit(".layers.")[0] for name in given} == {"stage_1.tc_discriminator"}
    moved = [id(parameter) for phase in objective.phases for parameter in objective.parameters_of(phase)]
    assert sorted(moved) == sorted(id(parameter) for parameter in objective.parameters() if parameter.requires_grad)
    assert all(losses.total.isfinite() for losses in train_steps(objective, [batches(0), batches(1)]).values())


@pytest.mark.parametrize("config", [EndToEndIDGANConfig, VAEGANConfig])
def test_the_vae_is_in_training_mode_with_all_its_gradients(build, config):
    objective = build(config()).train()
    assert all(module.training for module in objective.vae.modules())
    assert all(parameter.requires_grad for parameter in objective.vae.parameters())
