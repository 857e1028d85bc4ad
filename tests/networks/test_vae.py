import copy

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, Posterior, TwoStackVAEConfig, VAEConfig

# Table A.2: 4x4 convolutions 32, 32, 64, 64, then FC 256, then FC 2 * dim; weights + biases of each layer.
ENCODER_TRUNK = (32 * 32 * 16 + 32) + (32 * 64 * 16 + 64) + (64 * 64 * 16 + 64) + (64 * 4 * 4 * 256 + 256)
# Table A.2: FC 256, FC 4*4*64, then 4x4 upconvolutions 64, 32, 32, C.
DECODER_TRUNK = (256 * 1024 + 1024) + (64 * 64 * 16 + 64) + (64 * 32 * 16 + 32) + (32 * 32 * 16 + 32)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def random_posterior(n=7, c_dim=4):
    return Posterior(torch.randn(n, c_dim), torch.randn(n, c_dim))


def as_normal(posterior):
    return Normal(posterior.mean, (posterior.logvar / 2).exp())


# ------------------------------------------------------------------ posterior


def test_sample_is_mean_plus_std_times_noise():
    posterior, noise = random_posterior(), torch.randn(7, 4)
    normal = as_normal(posterior)
    torch.testing.assert_close(posterior.sample(noise), normal.loc + normal.scale * noise)
    assert torch.equal(posterior.sample(torch.zeros(7, 4)), posterior.mean)


def test_sample_passes_gradients_to_both_parameters():
    mean, logvar, noise = (
        torch.zeros(3, 2, requires_grad=True),
        torch.zeros(3, 2, requires_grad=True),
        torch.randn(3, 2),
    )
    Posterior(mean, logvar).sample(noise).sum().backward()
    assert torch.equal(mean.grad, torch.ones(3, 2))
    torch.testing.assert_close(logvar.grad, noise / 2)  # d exp(logvar / 2) / d logvar at 0


def test_densities_are_those_of_torch():
    posterior, c = random_posterior(), torch.randn(7, 4)
    torch.testing.assert_close(posterior.log_density(c), as_normal(posterior).log_prob(c))
    torch.testing.assert_close(posterior.log_prob(c), as_normal(posterior).log_prob(c).sum(1))


def test_kl_is_that_of_torch():
    posterior = random_posterior()
    torch.testing.assert_close(posterior.kl(), kl_divergence(as_normal(posterior), Normal(0.0, 1.0)))


def test_kl_is_zero_at_the_prior_only():
    assert torch.equal(Posterior(torch.zeros(2, 3), torch.zeros(2, 3)).kl(), torch.zeros(2, 3))
    assert (random_posterior().kl() > 0).all()


def test_rows_of_a_posterior():
    posterior = random_posterior()
    assert len(posterior) == 7
    assert len(posterior[2:5]) == 3
    assert torch.equal(posterior[torch.tensor([6, 0])].logvar, posterior.logvar[[6, 0]])


# ------------------------------------------------------------------ networks


@pytest.mark.parametrize(("c_dim", "channels"), [(10, 1), (20, 3)])
def test_parameter_counts_are_those_of_table_a2(c_dim, channels):
    vae = VAEConfig(c_dim, channels).build()
    assert count(vae.encoder) == (channels * 32 * 16 + 32) + ENCODER_TRUNK + (256 * 2 * c_dim + 2 * c_dim)
    assert count(vae.decoder) == (c_dim * 256 + 256) + DECODER_TRUNK + (32 * channels * 16 + channels)
    assert count(vae) == count(vae.encoder) + count(vae.decoder)


def test_every_layer_but_the_last_is_followed_by_relu():
    vae = VAEConfig().build()
    encoder, decoder = ([type(layer).__name__ for layer in stack] for stack in (vae.encoder, vae.decoder))
    assert encoder == ["DownConv2d", "ReLU"] * 4 + ["Flatten", "Linear", "ReLU", "Linear"]
    assert decoder == ["Linear", "ReLU"] * 2 + ["Unflatten"] + ["UpConv2d", "ReLU"] * 3 + ["UpConv2d"]


@pytest.mark.parametrize(("c_dim", "channels"), [(10, 1), (3, 3)])
def test_shapes_and_ranges(c_dim, channels):
    vae = VAEConfig(c_dim, channels).build()
    posterior = vae.encode(torch.rand(2, channels, 64, 64))
    assert posterior.mean.shape == posterior.logvar.shape == (2, c_dim)
    c = torch.randn(2, c_dim)
    assert vae.decode_logits(c).shape == (2, channels, 64, 64)
    assert torch.equal(vae.decode(c), vae.decode_logits(c).sigmoid())
    assert 0 <= vae.decode(1000 * c).min() < vae.decode(1000 * c).max() <= 1


def test_mean_and_logvar_are_the_two_halves_of_the_encoders_output():
    vae, x = VAEConfig(c_dim=3).build(), torch.rand(2, 1, 64, 64)
    posterior = vae.encode(x)
    assert torch.equal(torch.cat([posterior.mean, posterior.logvar], 1), vae.encoder(x))


def test_outputs_are_float32_under_autocast():
    vae = VAEConfig().build()
    with torch.autocast("cpu", torch.bfloat16):
        posterior, logits = vae.encode(torch.rand(1, 1, 64, 64)), vae.decode_logits(torch.randn(1, 10))
        assert vae.encoder(torch.rand(1, 1, 64, 64)).dtype == torch.bfloat16  # else this test shows nothing
    assert posterior.mean.dtype == posterior.logvar.dtype == posterior.kl().dtype == logits.dtype == torch.float32


def test_an_image_is_encoded_on_its_own_whatever_else_is_in_the_batch():
    vae, x = VAEConfig().build(), torch.rand(4, 1, 64, 64)
    torch.testing.assert_close(vae.encode(x).mean[1:2], vae.encode(x[1:2]).mean)


# ------------------------------------------------------------------ what other methods make of it


@pytest.mark.parametrize("s_dim", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_decoder_as_a_generator_draws_what_decode_does(channels, s_dim):
    vae, c, s = VAEConfig(c_dim=5, image_channels=channels).build(), 3 * torch.randn(4, 5), torch.zeros(4, s_dim)
    before = copy.deepcopy(vae.state_dict())
    generator = vae.as_generator(s_dim)
    assert generator.config == ConvGeneratorConfig(5, s_dim, channels)
    torch.testing.assert_close(generator(torch.cat([s, c], 1)), 2 * vae.decode(c) - 1, rtol=1e-4, atol=1e-5)
    if s_dim:  # it starts with an influence of s, or training would not find one
        assert (generator(torch.cat([s + 1, c], 1)) - generator(torch.cat([s, c], 1))).abs().max() > 1e-4
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in vae.state_dict().items())


def test_hidden_features_are_the_outputs_of_the_encoders_relus():
    vae, x = VAEConfig(c_dim=3).build(), torch.rand(2, 1, 64, 64)
    outputs = vae.hidden_features(x)
    assert [output.shape for output in outputs] == [
        (2, 32 * 32**2),
        (2, 32 * 16**2),
        (2, 64 * 8**2),
        (2, 64 * 4**2),
        (2, 256),
    ]
    assert torch.equal(outputs[0], vae.encoder[:2](x).flatten(1))
    assert torch.equal(outputs[-1], vae.features(x))


def test_hidden_features_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        outputs = VAEConfig(c_dim=3).build().hidden_features(torch.rand(2, 1, 64, 64))
    assert {output.dtype for output in outputs} == {torch.float32}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"c_dim": 0}, "c_dim must be an integer from 1 to 4096, got 0"),
        ({"c_dim": 4097}, "c_dim must be an integer from 1 to 4096, got 4097"),
        ({"c_dim": 2.0}, "c_dim must be an integer from 1 to 4096, got 2.0"),
        ({"image_channels": "3"}, "image_channels must be an integer from 1 to 4096, got '3'"),
    ],
)
def test_sizes_out_of_range_are_refused(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        VAEConfig(**fields)


def test_features_are_all_of_the_encoder_but_its_last_layer():
    vae, x = VAEConfig(c_dim=3).build(), torch.rand(2, 1, 64, 64)
    features = vae.features(x)
    assert features.shape == (2, 256)
    assert torch.equal(vae.encoder[-1](features), vae.encoder(x))


def test_two_encoder_stacks_read_the_same_images_side_by_side():
    one, two = VAEConfig(c_dim=3).build(), TwoStackVAEConfig(c_dim=3).build()
    assert count(two.decoder) == count(one.decoder)
    assert count(two.encoder) == 2 * (count(one.encoder) - (256 * 6 + 6)) + 512 * 6 + 6
    x = torch.rand(2, 1, 64, 64)
    features, outputs = two.features(x), two.hidden_features(x)
    assert features.shape == (2, 512)
    assert torch.equal(features, torch.cat([outputs[4], outputs[9]], 1))
    assert len(outputs) == 10
    posterior = two.encode(x)
    assert torch.equal(torch.cat([posterior.mean, posterior.logvar], 1), two.encoder[-1](features))
