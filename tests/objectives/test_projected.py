import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig
from idgan.objectives import IDGANConfig, ProjectedIDGANConfig, terms
from idgan.objectives.projected import feature_r1


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


def test_its_identity_is_that_of_the_frozen_network(build):
    assert build(ProjectedIDGANConfig()).identity() == {"features_sha256": 64 * "0", "features_from": "tiny-pyramid"}
    assert build(IDGANConfig()).identity() == {}


def test_another_discriminator_is_refused():
    networks = [config.build() for config in (VAEConfig(), ConvGeneratorConfig(), ConvDiscriminatorConfig())]
    with pytest.raises(InvalidInputError, match="ConvDiscriminator has no features, logits_of, identity"):
        ProjectedIDGANConfig().build(*networks)
