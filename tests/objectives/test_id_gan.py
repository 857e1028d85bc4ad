import pytest
import torch
from torch import nn
from torch.distributions import Normal

from idgan.errors import InvalidInputError
from idgan.images import encoder_view
from idgan.networks import ResNetDiscriminatorConfig, ResNetGeneratorConfig
from idgan.objectives import ConditionalGANConfig, IDGANConfig

C_DIM, S_DIM = 4, 3  # of the fixture `build`


def flat(gradients):
    return torch.cat([gradient.flatten() for gradient in gradients.values()])


# ------------------------------------------------------------------ the frozen encoder


def test_the_encoder_is_frozen_and_stays_in_eval_mode(build):
    objective = build(IDGANConfig())
    for mode in (True, False, True):
        objective.train(mode)
        assert not any(module.training for module in objective.vae.modules())
        assert objective.generator.training is objective.discriminator.training is mode
    assert not any(parameter.requires_grad for parameter in objective.vae.parameters())


def test_training_leaves_the_encoder_alone(build, batches, train_steps, weights):
    objective = build(IDGANConfig(id_weight=1.0))
    before = weights(objective.vae)
    train_steps(objective, [batches(0), batches(1)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in objective.vae.state_dict().items())
    assert all(parameter.grad is None for parameter in objective.vae.parameters())


# ------------------------------------------------------------------ latents


def test_codes_are_drawn_from_the_posterior_of_the_real_images_once(build, batches):
    objective, batch, same = build(IDGANConfig()), batches(0), batches(0)
    c, code = objective.latents(batch)
    posterior = objective.vae.encode(same.x)
    assert torch.equal(c, posterior.sample(same.normal(C_DIM)))
    assert torch.equal(code, torch.cat([same.normal(S_DIM), c], 1))  # nuisance first
    assert objective.latents(batch)[0] is c
    assert not c.requires_grad


def test_fakes_are_signed_images(build, batches):
    objective = build(IDGANConfig())
    fakes = objective.fakes(batches(0))
    assert fakes.shape == batches(0).x.shape
    assert -1 <= fakes.min() < fakes.max() <= 1


# ------------------------------------------------------------------ losses


def test_losses_are_those_of_equations_2_to_4(build, batches):
    objective = build(IDGANConfig(id_weight=0.5, r1_weight=3.0))
    batch = batches(0)
    c, code = objective.latents(batch)
    fake, real = objective.generator(code), (2 * batch.x - 1).requires_grad_()
    logits_real, logits_fake = objective.discriminator(real), objective.discriminator(fake)
    (slope,) = torch.autograd.grad(logits_real.sum(), real)
    l_gan = logits_real.sigmoid().log().mean() + (1 - logits_fake.sigmoid()).log().mean()
    posterior = objective.vae.encode((fake + 1) / 2)
    r_id = Normal(posterior.mean, (posterior.logvar / 2).exp()).log_prob(c).sum(1).mean()

    losses = {phase: objective.losses(phase, batches(0)) for phase in objective.phases}
    torch.testing.assert_close(losses["discriminator"].total, -l_gan + 3 * slope.square().sum((1, 2, 3)).mean())
    torch.testing.assert_close(losses["generator"].total, -logits_fake.sigmoid().log().mean() - 0.5 * r_id)
    torch.testing.assert_close(losses["generator"].logged["r_id"], r_id)
    torch.testing.assert_close(losses["discriminator"].logged["logit_fake"], logits_fake.mean())


def test_without_distillation_the_generator_has_its_adversarial_loss_only(build, batches):
    losses = build(IDGANConfig(id_weight=0.0)).losses("generator", batches(0))
    assert losses.logged.keys() == {"generator_loss"}
    assert torch.equal(losses.total, losses.logged["generator_loss"])


def test_id_weight_changes_the_generators_gradient_only_and_in_proportion(build, batches, gradients):
    def with_weights(phase):
        return [
            flat(gradients(build(IDGANConfig(id_weight=weight)), phase, batches(0))[0]) for weight in (0.0, 0.5, 1.0)
        ]

    none, _, whole = with_weights("discriminator")
    assert torch.equal(none, whole)
    none, half, whole = with_weights("generator")
    assert (whole - none).norm() > 0
    torch.testing.assert_close(
        half - none, (whole - none) / 2, rtol=1e-3, atol=1e-5 * (whole - none).abs().max().item()
    )


def test_distillation_reaches_the_generator_through_the_encoder(build, batches, gradients):
    """`id_weight` adds the gradient of -log q(c|G(s, c)), which is 0 for an encoder that ignores its input."""
    objective, blind = build(IDGANConfig(id_weight=1.0)), build(IDGANConfig(id_weight=1.0))
    nn.init.zeros_(blind.vae.encoder[0].weight)
    added = {}
    for name, one in (("seeing", objective), ("blind", blind)):
        with_term, _ = gradients(one, "generator", batches(0))
        one.config = IDGANConfig(id_weight=0.0)
        without, _ = gradients(one, "generator", batches(0))
        added[name] = flat(with_term) - flat(without)
    assert torch.equal(added["blind"], torch.zeros_like(added["blind"]))

    c, code = objective.latents(batches(0))
    likelihood = objective.vae.encode((objective.generator(code) + 1) / 2).log_prob(c).mean()
    expected = torch.cat(
        [g.flatten() for g in torch.autograd.grad(-likelihood, list(objective.generator.parameters()))]
    )
    torch.testing.assert_close(added["seeing"], expected, rtol=1e-3, atol=1e-5 * expected.abs().max().item())


def test_a_few_steps_of_distillation_make_the_code_readable(build, batches):
    """Ascending R_ID alone raises it: the sign of the term is right."""
    objective = build(IDGANConfig(id_weight=1.0))
    optimizer = torch.optim.Adam(objective.parameters_of("generator"), 1e-3)
    r_id = []
    for _ in range(8):
        losses = objective.losses("generator", batches(0))
        optimizer.zero_grad()
        (losses.total - losses.logged["generator_loss"]).backward(inputs=objective.parameters_of("generator"))
        optimizer.step()
        r_id.append(losses.logged["r_id"].item())
    assert r_id[-1] > r_id[0]


def test_above_64_the_encoder_sees_the_area_average_and_gradients_pass_through_it(build, batches, gradients):
    objective = build(IDGANConfig(id_weight=1.0))
    shape = {"resolution": 128, "base_width": 2, "max_width": 4, "image_channels": 1}
    objective.generator = ResNetGeneratorConfig(c_dim=C_DIM, s_dim=S_DIM, **shape).build()
    objective.discriminator = ResNetDiscriminatorConfig(**shape).build()
    batch, view = batches(0), batches(0).x
    batch.x = view.repeat_interleave(2, 2).repeat_interleave(2, 3)
    c, code = objective.latents(batch)
    torch.testing.assert_close(c, objective.vae.encode(view).sample(batches(0).normal(C_DIM)))
    expected = objective.vae.encode(encoder_view((objective.generator(code) + 1) / 2)).log_prob(c).mean()
    given, losses = gradients(objective, "generator", batch)
    torch.testing.assert_close(losses.logged["r_id"], expected)
    assert all(gradient.abs().sum() > 0 for gradient in given.values())


def test_the_discriminators_loss_does_not_reach_the_generator(build, batches):
    objective = build(IDGANConfig())
    objective.losses("discriminator", batches(0)).total.backward()
    assert all(parameter.grad is None for parameter in objective.generator.parameters())


# ------------------------------------------------------------------ R1


def test_r1_comes_at_every_step_by_default(build, batches):
    for step in range(3):
        losses = build(IDGANConfig(r1_weight=2.0)).losses("discriminator", batches(step))
        torch.testing.assert_close(losses.total, losses.logged["discriminator_loss"] + 2 * losses.logged["r1"])


def test_lazy_r1_comes_at_multiples_and_as_many_times_as_strong(build, batches):
    objective = build(IDGANConfig(r1_weight=2.0, r1_interval=3))
    for step in range(7):
        losses = objective.losses("discriminator", batches(step))
        assert ("r1" in losses.logged) == (step % 3 == 0)
        penalty = 2 * 3 * losses.logged["r1"] if step % 3 == 0 else 0
        torch.testing.assert_close(losses.total, losses.logged["discriminator_loss"] + penalty)


def test_r1_weight_0_turns_it_off(build, batches):
    losses = build(IDGANConfig(r1_weight=0.0)).losses("discriminator", batches(0))
    assert "r1" not in losses.logged
    assert torch.equal(losses.total, losses.logged["discriminator_loss"])


@pytest.mark.parametrize("every", [0, -1])
def test_r1_interval_must_be_positive(every):
    with pytest.raises(InvalidInputError, match=f"r1_interval must be an integer of 1 or more, got {every}"):
        IDGANConfig(r1_interval=every)


def test_r1_leaves_the_batch_as_it_was(build, batches):
    batch, before = batches(0), batches(0).x
    build(IDGANConfig()).losses("discriminator", batch).total.backward()
    assert torch.equal(batch.x, before)
    assert not batch.x.requires_grad


# ------------------------------------------------------------------ one forward of G


@pytest.mark.parametrize(("fresh", "forwards"), [(False, 1), (True, 2)])
def test_forwards_of_the_generator_in_a_step(build, batches, train_steps, fresh, forwards):
    objective, calls = build(IDGANConfig(fresh_fakes=fresh)), []
    objective.generator.register_forward_hook(lambda *_: calls.append(1))
    train_steps(objective, [batches(0)])
    assert len(calls) == forwards


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_sharing_the_forward_changes_no_bit(build, batches, train_steps, weights, precision):
    results = []
    for fresh in (False, True):
        objective = build(IDGANConfig(fresh_fakes=fresh, r1_interval=2))
        losses = train_steps(objective, [batches(step) for step in range(3)], precision)
        results.append((losses, weights(objective)))
    (shared, shared_weights), (fresh, fresh_weights) = results
    for phase in shared:
        assert torch.equal(shared[phase].total, fresh[phase].total)
    assert all(torch.equal(tensor, fresh_weights[name]) for name, tensor in shared_weights.items())


def test_the_generator_reads_the_discriminator_after_its_step(build, batches, train_steps):
    """The generator's loss in a step is that of the same fakes under the discriminator as the step leaves it."""
    objective = build(IDGANConfig(id_weight=0.0))
    _, code = objective.latents(batches(0))
    with torch.no_grad():
        fakes = objective.generator(code)
        before = -objective.discriminator(fakes).sigmoid().log().mean()
    losses = train_steps(objective, [batches(0)])
    after = -objective.discriminator(fakes).sigmoid().log().mean()
    torch.testing.assert_close(losses["generator"].total, after)
    assert after != before


# ------------------------------------------------------------------ the conditional GAN


def test_the_conditional_gan_reads_each_image_with_the_code_of_the_same_row(build, batches):
    objective = build(ConditionalGANConfig(r1_weight=0.0))
    batch = batches(0)
    c, code = objective.latents(batch)
    assert torch.equal(c, objective.vae.encode(batch.x).sample(batches(0).normal(C_DIM)))
    real, fake = (objective.discriminator(x, c).sigmoid() for x in (2 * batch.x - 1, objective.generator(code)))
    losses = {phase: objective.losses(phase, batches(0)) for phase in objective.phases}
    torch.testing.assert_close(losses["discriminator"].total, -(real.log().mean() + (1 - fake).log().mean()))
    torch.testing.assert_close(losses["generator"].total, -fake.log().mean())
    assert losses["generator"].logged.keys() == {"generator_loss"}  # no R_ID


def test_the_conditional_gan_blind_to_the_code_is_id_gan_without_distillation(build, batches):
    objective, plain = build(ConditionalGANConfig()), build(IDGANConfig(id_weight=0.0))
    nn.init.zeros_(objective.discriminator.projection.weight)
    plain.discriminator = objective.discriminator.network
    for phase in objective.phases:
        torch.testing.assert_close(objective.losses(phase, batches(0)).total, plain.losses(phase, batches(0)).total)
