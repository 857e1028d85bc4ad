import torch
from torch.distributions import Normal

from idgan.networks import LogitHeadConfig, ResNetDiscriminatorConfig, ResNetEncoderConfig, ResNetGeneratorConfig
from idgan.objectives import GANConfig, InfoGANConfig


def log_likelihood(objective, x_fake, c):
    """E log q(c|x) by torch.distributions."""
    posterior = objective.vae.encode((x_fake + 1) / 2)
    return Normal(posterior.mean, (posterior.logvar / 2).exp()).log_prob(c).sum(1).mean()


def test_codes_come_from_the_prior(build, batches):
    objective = build(InfoGANConfig())
    assert torch.equal(objective.latents(batches(0))[0], batches(0).normal(4))
    assert objective.prior == "normal"


def test_d_and_q_share_all_layers_but_the_last(build, batches):
    objective, x = build(InfoGANConfig()), batches(0).x
    hidden = objective.vae.encoder[:-1](x)
    torch.testing.assert_close(objective.logits(2 * x - 1, None), objective.discriminator.logit(hidden)[:, 0])
    torch.testing.assert_close(objective.vae.encode(x).mean, objective.vae.encoder[-1](hidden)[:, :4])


def test_both_phases_descend_the_code_s_likelihood(build, batches):
    """Equation 5, up to the entropy of the prior; the weight is that of equation 2."""
    for phase in ("discriminator", "generator"):
        objective, plain = build(InfoGANConfig(id_weight=0.5)), build(InfoGANConfig(id_weight=0.0))
        c, code = objective.latents(batches(0))
        expected = -0.5 * log_likelihood(objective, objective.generator(code), c)
        torch.testing.assert_close(
            objective.losses(phase, batches(0)).total - plain.losses(phase, batches(0)).total,
            expected,
            rtol=1e-4,
            atol=1e-4,
        )


def test_the_decoder_and_only_it_is_frozen(build):
    objective = build(InfoGANConfig())
    assert {name.split(".")[0] for name, p in objective.vae.named_parameters() if not p.requires_grad} == {"decoder"}
    assert all(p.requires_grad for p in objective.vae.encoder.parameters())


def test_the_code_head_learns_from_fakes_only_and_in_d_s_phase(build, batches, gradients):
    head = "vae.encoder.11.weight"
    objective = build(InfoGANConfig(id_weight=0.5))
    given, _ = gradients(objective, "discriminator", batches(0))
    c, code = objective.latents(batches(0))
    (expected,) = torch.autograd.grad(
        -0.5 * log_likelihood(objective, objective.generator(code).detach(), c), [objective.vae.encoder[-1].weight]
    )
    torch.testing.assert_close(given[head], expected)
    assert head not in gradients(objective, "generator", batches(0))[0]


def test_the_discriminators_loss_does_not_reach_the_generator(build, batches):
    objective = build(InfoGANConfig())
    objective.losses("discriminator", batches(0)).total.backward()
    assert all(parameter.grad is None for parameter in objective.generator.parameters())


def test_without_weight_the_generator_has_the_gan_s_loss_and_the_code_head_none(build, batches, gradients):
    objective = build(InfoGANConfig(id_weight=0.0))
    losses = objective.losses("generator", batches(0))
    assert losses.logged.keys() == build(GANConfig()).losses("generator", batches(0)).logged.keys()
    assert "vae.encoder.11.weight" not in gradients(objective, "discriminator", batches(0))[0]


def test_a_few_steps_make_the_code_readable(build, batches, train_steps):
    objective = build(InfoGANConfig(id_weight=1.0))
    first = train_steps(objective, [batches(0)])["generator"].logged["r_id"]
    last = train_steps(objective, [batches(step) for step in range(1, 40)])["generator"].logged["r_id"]
    assert last > first + 0.3


# ------------------------------------------------------------------ natural images

SMALL = {"resolution": 64, "base_width": 2, "max_width": 4, "image_channels": 1}


def on_natural_images(**settings):
    """InfoGAN on small networks of the ResNet family."""
    torch.manual_seed(0)
    vae = ResNetEncoderConfig(c_dim=4, **SMALL)
    generator = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build()
    return InfoGANConfig(**settings).build(vae.build(), generator, LogitHeadConfig(vae.features).build())


def test_without_the_code_head_it_is_the_resnet_discriminator(batches):
    objective, plain = on_natural_images(), ResNetDiscriminatorConfig(**SMALL).build()
    layers = {**objective.vae.encoder[:-1].state_dict()}
    layers |= {
        f"{len(plain.layers) - 1}.{name}": value for name, value in objective.discriminator.logit.state_dict().items()
    }
    plain.layers.load_state_dict(layers)
    x = 2 * batches(0).x - 1
    torch.testing.assert_close(objective.logits(x, None), plain(x))


def test_on_natural_images_a_few_steps_make_the_code_readable(batches, train_steps):
    objective = on_natural_images(id_weight=1.0)
    first = train_steps(objective, [batches(0)])["generator"].logged["r_id"]
    last = train_steps(objective, [batches(step) for step in range(1, 40)])["generator"].logged["r_id"]
    assert last > first
    posterior = objective.vae.encode(batches(0).x)
    assert posterior.mean.shape == posterior.logvar.shape == (len(batches(0).x), 4)
