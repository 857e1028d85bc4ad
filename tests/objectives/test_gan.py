import pytest
import torch

from idgan.objectives import GANConfig, IDGANConfig


def test_codes_come_from_the_prior_and_the_encoder_takes_no_part(build, batches, gradients):
    objective, same = build(GANConfig()), batches(0)
    c, code = objective.latents(batches(0))
    assert torch.equal(c, same.normal(4))
    assert torch.equal(code, torch.cat([same.normal(3), c], 1))
    assert objective.prior == "normal"
    with torch.no_grad():
        for parameter in objective.vae.parameters():
            parameter.fill_(torch.nan)
    for phase in objective.phases:
        given, losses = gradients(objective, phase, batches(0))
        assert losses.total.isfinite()
        assert all(gradient.isfinite().all() for gradient in given.values())


def test_the_vae_is_frozen_and_stays_in_eval_mode(build):
    objective = build(GANConfig()).train()
    assert not any(parameter.requires_grad for parameter in objective.vae.parameters())
    assert not any(module.training for module in objective.vae.modules())
    assert objective.generator.training


def test_losses_are_those_of_equation_3(build, batches):
    objective = build(GANConfig(r1_weight=0.0))
    batch = batches(0)
    _, code = objective.latents(batch)
    real, fake = (objective.discriminator(x).sigmoid() for x in (2 * batch.x - 1, objective.generator(code)))
    losses = {phase: objective.losses(phase, batches(0)) for phase in objective.phases}
    torch.testing.assert_close(losses["discriminator"].total, -(real.log().mean() + (1 - fake).log().mean()))
    torch.testing.assert_close(losses["generator"].total, -fake.log().mean())


@pytest.mark.parametrize("phase", ["discriminator", "generator"])
def test_it_is_id_gan_without_distillation_but_for_where_codes_come_from(build, batches, phase):
    """Given one pair of latents, the two have the same losses."""
    plain, distilled = build(GANConfig()), build(IDGANConfig(id_weight=0.0))
    ours, theirs = batches(0), batches(0)
    latents = distilled.latents(theirs)
    ours.once("latents", lambda: latents)
    assert torch.equal(plain.losses(phase, ours).total, distilled.losses(phase, theirs).total)
    assert not torch.equal(plain.losses(phase, batches(0)).total, distilled.losses(phase, batches(0)).total)
