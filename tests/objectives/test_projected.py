import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, ProjectedDiscriminatorConfig, VAEConfig
from idgan.objectives import IDGANConfig, ProjectedIDGANConfig, terms
from idgan.objectives.projected import feature_r1, shifted


def test_r1_on_features_is_the_squared_gradient_by_hand():
    """D_l(z) = <w_l, z> + v_l <z, z> / 2 has the gradient w_l + v_l z."""
    w, v = (
        [torch.randn(3, 4, 4), torch.randn(5, 2, 2)],
        [nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(-1.5))],
    )
    maps = [torch.randn(6, 3, 4, 4).requires_grad_(), torch.randn(6, 5, 2, 2).requires_grad_()]
    logits = torch.stack(
        [(weight * z + scale * z.square() / 2).flatten(1).sum(1) for weight, scale, z in zip(w, v, maps)], dim=1
    )
    r1 = feature_r1(logits, maps)
    by_hand = [weight + scale * z for weight, scale, z in zip(w, v, maps)]
    torch.testing.assert_close(r1, sum(gradient.square().flatten(1).sum(1).mean() for gradient in by_hand))
    r1.backward()
    for scale, z, gradient in zip(v, maps, by_hand):  # d/dv |w + v z|^2 = 2 <z, w + v z>
        torch.testing.assert_close(scale.grad, (2 * z * gradient).flatten(1).sum(1).mean())


def test_losses_are_sums_over_scales(build, batches):
    objective = build(ProjectedIDGANConfig(r1_interval=3, id_weight=0.0))
    objective.eval()  # spectral norm stands still
    batch = batches(1)
    made = objective.losses("discriminator", batch)
    real, fake = (
        objective.discriminator.logits_of(objective.discriminator.features(x))
        for x in (2 * batch.x - 1, objective.fakes(batch))
    )
    torch.testing.assert_close(
        made.total, sum(terms.discriminator_loss(real[:, scale], fake[:, scale]) for scale in range(4))
    )
    torch.testing.assert_close(made.logged["logit_gap_2"], (real - fake)[:, 2].mean())
    expected = sum(terms.adversarial_loss(fake[:, scale]) for scale in range(4))
    torch.testing.assert_close(objective.losses("generator", batch).total, expected)


def test_r1_is_lazy_and_weighted_for_the_steps_it_stands_for(build, batches):
    objective = build(ProjectedIDGANConfig(r1_weight=3.0, r1_interval=2)).eval()
    with_r1, without = objective.losses("discriminator", batches(2)), objective.losses("discriminator", batches(1))
    assert "r1" in with_r1.logged and "r1" not in without.logged
    torch.testing.assert_close(with_r1.total, with_r1.logged["discriminator_loss"] + 3 * 2 * with_r1.logged["r1"])
    assert objective.differentiates_twice("discriminator", 2) and not objective.differentiates_twice("generator", 2)


def test_r1_is_computed_in_float32_whatever_the_rest(build, batches):
    objective = build(ProjectedIDGANConfig()).eval()
    exact = objective.losses("discriminator", batches(0)).logged
    with torch.autocast("cpu", torch.bfloat16):
        cast = objective.losses("discriminator", batches(0)).logged
    torch.testing.assert_close(cast["r1"], exact["r1"], rtol=1e-6, atol=0)


def test_gradients_pass_through_the_frozen_network_and_none_stay_there(build, batches):
    objective, batch = build(ProjectedIDGANConfig(id_weight=0.0)), batches(0)
    frozen = objective.discriminator.pyramid.state_dict()
    before = {name: weight.clone() for name, weight in frozen.items()}
    objective.losses("generator", batch).total.backward(inputs=objective.parameters_of("generator"))
    assert all(parameter.grad.abs().sum() > 0 for parameter in objective.generator.parameters())
    assert all(
        weight.grad is None and not weight.requires_grad for weight in objective.discriminator.pyramid.parameters()
    )
    assert all(torch.equal(weight, before[name]) for name, weight in frozen.items())


def test_one_forward_of_g_and_one_of_the_frozen_network_on_fakes_serve_both_phases(build, batches):
    objective, batch, calls = build(ProjectedIDGANConfig()), batches(0), []
    objective.generator.register_forward_hook(lambda *_: calls.append("G"))
    objective.discriminator.pyramid.register_forward_hook(lambda *_: calls.append("features"))
    for phase in objective.phases:
        objective.losses(phase, batch)
    assert sorted(calls) == ["G", "features", "features"]  # of real images, and of fakes


def test_r_id_is_id_gan_s(build, batches):
    objective, batch, same = build(ProjectedIDGANConfig(id_weight=2.0)).eval(), batches(0), build(IDGANConfig())
    losses = objective.losses("generator", batch)
    torch.testing.assert_close(losses.total, losses.logged["generator_loss"] - 2 * losses.logged["r_id"])
    torch.testing.assert_close(losses.logged["r_id"], same.losses("generator", batches(0)).logged["r_id"])


def test_d_has_a_head_start(build):
    objective = build(ProjectedIDGANConfig(head_start=5))
    assert [objective.skips_phase("generator", step) for step in (0, 4, 5, 6)] == [True, True, False, False]
    assert not any(objective.skips_phase("discriminator", step) for step in (0, 4, 5))
    with pytest.raises(InvalidInputError, match="head_start must be an integer of 0 or more, got -1"):
        ProjectedIDGANConfig(head_start=-1)


RECONSTRUCTS = {"reconstruction_weight": 0.5, "likelihood": "bernoulli"}


def test_the_reconstruction_is_the_loss_of_a_vae_with_the_code_s(build, batches):
    """By hand, from the networks: the pixels' cross entropy and the KL of s, with c at the mean of the encoder."""
    objective, batch = build(ProjectedIDGANConfig(reconstruction_steps=9, s_beta=3.0, **RECONSTRUCTS)), batches(0)
    losses = objective.losses("generator", batch)
    mean, logvar = objective.nuisance_encoder(batch.x).chunk(2, dim=1)
    s = mean + (logvar / 2).exp() * batches(0).normal(mean.shape[1])
    drawn = (objective.generator(torch.cat([s, objective.vae.encode(batch.x).mean], dim=1)) + 1) / 2
    error = nn.functional.binary_cross_entropy(drawn, batch.x, reduction="sum") / len(drawn)
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (logvar / 2).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(losses.logged["reconstruction"], error)
    torch.testing.assert_close(losses.logged["s_kl"], kl.sum(1).mean())
    torch.testing.assert_close(losses.total, 0.5 * (error + 3 * kl.sum(1).mean()))


def test_the_squared_error_is_another_choice(build, batches):
    objective = build(ProjectedIDGANConfig(reconstruction_weight=1.0, reconstruction_steps=1, s_beta=0.0))
    losses = objective.losses("generator", batches(0))
    mean, logvar = objective.nuisance_encoder(batches(0).x).chunk(2, dim=1)
    s = mean + (logvar / 2).exp() * batches(0).normal(mean.shape[1])
    drawn = (objective.generator(torch.cat([s, objective.vae.encode(batches(0).x).mean], dim=1)) + 1) / 2
    torch.testing.assert_close(losses.total, (drawn - batches(0).x).square().sum() / 4)


def test_s_learns_to_reconstruct(build, batches):
    objective = build(ProjectedIDGANConfig(reconstruction_steps=99, **RECONSTRUCTS))
    optimizer, errors = torch.optim.Adam(objective.parameters_of("generator"), 2e-3), []
    for _ in range(60):
        optimizer.zero_grad()
        losses = objective.losses("generator", batches(0))
        losses.total.backward()
        optimizer.step()
        errors.append(losses.logged["reconstruction"].item())
    assert errors[-1] < 0.3 * errors[0]


def test_the_reconstruction_trains_its_encoder_and_g_and_nothing_else(build, batches, gradients):
    objective = build(ProjectedIDGANConfig(reconstruction_steps=9, **RECONSTRUCTS))
    moved, _ = gradients(objective, "generator", batches(0))
    assert {name.partition(".")[0] for name in moved} == {"generator", "nuisance_encoder"}
    assert all(gradient.abs().sum() > 0 for gradient in moved.values())


def test_what_leaves_a_shifted_image_enters_on_the_opposite_side():
    x, by = torch.rand(4, 3, 6, 8), torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, -2.0], [-3.0, 11.0]])
    for image, moved, (down, right) in zip(x, shifted(x, by), by.int().tolist()):
        assert torch.equal(moved, image.roll((down, right), dims=(1, 2)))


def test_the_largest_shift_rises_over_the_steps_of_the_reconstruction_alone(build):
    objective = build(ProjectedIDGANConfig(reconstruction_steps=80, s_shift=6, **RECONSTRUCTS))
    assert [objective.largest_shift(step) for step in (0, 20, 30, 40, 60, 79, 80, 999)] == [0, 0, 2, 3, 6, 6, 6, 6]
    at_once = build(ProjectedIDGANConfig(s_shift=6, **RECONSTRUCTS))
    assert at_once.largest_shift(0) == 6


def test_the_nuisance_encoder_reads_shifted_images_and_g_draws_them_in_their_place(build, batches):
    config = ProjectedIDGANConfig(reconstruction_steps=4, s_shift=9, **RECONSTRUCTS)
    objective, read, batch = build(config), [], batches(3)
    objective.nuisance_encoder.register_forward_hook(lambda _, inputs, __: read.append(inputs[0]))
    losses = objective.losses("generator", batch)
    offsets = {}
    for index, (image, seen) in enumerate(zip(batch.x, read[0])):
        offsets[index] = [
            (down, right)
            for down in range(-9, 10)
            for right in range(-9, 10)
            if torch.equal(seen, image.roll((down, right), dims=(1, 2)))
        ]
    assert all(len(found) == 1 for found in offsets.values())
    assert len({found[0] for found in offsets.values()}) == len(batch.x)
    with torch.no_grad():  # the error is that of the images as they are
        s = objective.nuisance_encoder.encode(read[0])
        batch = batches(3)
        batch.uniform(2)
        code = torch.cat([s.sample(batch.normal(s.mean.shape[1])), objective.vae.encode(batch.x).mean], dim=1)
        drawn = (objective.generator(code) + 1) / 2
        error = nn.functional.binary_cross_entropy(drawn, batch.x, reduction="sum") / len(drawn)
    torch.testing.assert_close(losses.logged["reconstruction"], error)


def test_d_and_its_head_start_come_after_the_first_reconstructions(build):
    objective = build(ProjectedIDGANConfig(reconstruction_steps=3, head_start=2, **RECONSTRUCTS))
    skipped = {phase: [objective.skips_phase(phase, step) for step in range(7)] for phase in objective.phases}
    assert skipped == {
        "discriminator": [True, True, True, False, False, False, False],
        "generator": [False, False, False, True, True, False, False],
    }


def test_the_reconstruction_is_added_to_the_losses_of_g(build, batches):
    plain, more = (build(ProjectedIDGANConfig(**options)).eval() for options in ({}, RECONSTRUCTS))
    assert plain.nuisance_encoder is None
    before, after = (objective.losses("generator", batches(0)) for objective in (plain, more))
    torch.testing.assert_close(after.logged["generator_loss"], before.logged["generator_loss"])
    added = 0.5 * (after.logged["reconstruction"] + after.logged["s_kl"])
    torch.testing.assert_close(after.total, before.total + added)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"reconstruction_weight": -1.0}, "reconstruction_weight must be 0 or more, got -1.0"),
        ({"s_beta": -1.0}, "s_beta must be"),
        ({"s_shift": -1}, "s_shift must be an integer of 0 or more, got -1"),
        ({"likelihood": "normal"}, "likelihood must be one of bernoulli, squared-error, got 'normal'"),
    ],
)
def test_settings_of_the_reconstruction_are_checked(options, message):
    with pytest.raises(InvalidInputError, match=message):
        ProjectedIDGANConfig(**options)


def test_steps_that_would_train_nothing_are_refused(build):
    with pytest.raises(InvalidInputError, match="reconstruction_steps is 5, but reconstruction_weight is 0"):
        build(ProjectedIDGANConfig(reconstruction_steps=5))


def test_a_reconstruction_needs_an_s(tiny_pyramid):
    discriminator = ProjectedDiscriminatorConfig(features="tiny", image_channels=1, base_width=4, head_width=8)
    networks = [config.build() for config in (VAEConfig(), ConvGeneratorConfig(), discriminator)]
    with pytest.raises(InvalidInputError, match="its s_dim is 0; set generator.s_dim"):
        ProjectedIDGANConfig(**RECONSTRUCTS).build(*networks)


def test_its_identity_is_that_of_the_frozen_network(build):
    assert build(ProjectedIDGANConfig()).identity() == {"features_sha256": 64 * "0", "features_from": "tiny-pyramid"}
    assert build(IDGANConfig()).identity() == {}


def test_another_discriminator_is_refused():
    networks = [config.build() for config in (VAEConfig(), ConvGeneratorConfig(), ConvDiscriminatorConfig())]
    with pytest.raises(InvalidInputError, match="ConvDiscriminator has no features, logits_of, identity"):
        ProjectedIDGANConfig().build(*networks)
