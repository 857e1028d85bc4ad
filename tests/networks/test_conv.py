import pytest
import torch
from torch import nn

from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, he_normal
from idgan.networks.conv import conv_decoder, conv_encoder


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("c_dim", "s_dim", "channels"), [(10, 0, 1), (20, 256, 3)])
def test_generator_has_the_parameters_of_table_a3(c_dim, s_dim, channels):
    generator = ConvGeneratorConfig(c_dim, s_dim, channels).build()
    dense = ((s_dim + c_dim) * 256 + 256) + (256 * 1024 + 1024)
    upconv = (64 * 64 * 16 + 64) + (64 * 32 * 16 + 32) + (32 * 32 * 16 + 32) + (32 * channels * 16 + channels)
    assert count(generator) == dense + upconv


@pytest.mark.parametrize("channels", [1, 3])
def test_discriminator_has_the_parameters_of_table_a3(channels):
    conv = (channels * 32 * 16 + 32) + (32 * 32 * 16 + 32) + (32 * 64 * 16 + 64) + (64 * 64 * 16 + 64)
    dense = (64 * 4 * 4 * 256 + 256) + (256 * 1 + 1)
    assert count(ConvDiscriminatorConfig(channels).build()) == conv + dense


@pytest.mark.parametrize(("c_dim", "s_dim", "channels"), [(10, 0, 1), (4, 3, 3)])
def test_generator_gives_signed_images(c_dim, s_dim, channels):
    images = ConvGeneratorConfig(c_dim, s_dim, channels).build()(1000 * torch.randn(3, s_dim + c_dim))
    assert images.shape == (3, channels, 64, 64)
    assert -1 <= images.min() < 0 < images.max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
def test_discriminator_gives_one_logit_an_image(channels):
    discriminator, x = ConvDiscriminatorConfig(channels).build(), torch.rand(3, channels, 64, 64) * 2 - 1
    logits = discriminator(x)
    assert logits.shape == (3,)
    torch.testing.assert_close(discriminator(x[:1]), logits[:1])  # also: a batch of one keeps its axis


def test_logits_are_not_bounded_below_by_a_rectifier():
    discriminator = ConvDiscriminatorConfig().build()
    x = torch.rand(2, 1, 64, 64)
    before = discriminator(x)
    with torch.no_grad():
        discriminator.layers[-1].bias -= 10
    torch.testing.assert_close(discriminator(x), before - 10)


def test_the_generator_is_the_decoders_stack_with_tanh_and_the_discriminator_the_encoders():
    generator, discriminator = ConvGeneratorConfig(c_dim=5, s_dim=2).build(), ConvDiscriminatorConfig().build()
    up, down = conv_decoder(7, 1), conv_encoder(1, 1)
    up.load_state_dict({name.removeprefix("layers."): tensor for name, tensor in generator.state_dict().items()})
    down.load_state_dict({name.removeprefix("layers."): tensor for name, tensor in discriminator.state_dict().items()})
    code, x = torch.randn(2, 7), torch.rand(2, 1, 64, 64)
    assert torch.equal(generator(code), up(code).tanh())
    assert torch.equal(discriminator(x), down(x)[:, 0])


@pytest.mark.parametrize("config", [ConvGeneratorConfig(), ConvDiscriminatorConfig()])
def test_networks_carry_their_config_and_resolution(config):
    assert config.build().config is config
    assert config.resolution == 64


def test_he_normal_keeps_the_variance_that_torchs_own_weights_lose():
    torch.manual_seed(0)
    generator, code = ConvGeneratorConfig(image_channels=3).build(), torch.randn(32, 10)
    stack = generator.layers[:-1]  # before tanh
    flat = stack(code).var(0).mean()
    he_normal(generator)
    assert flat < 1e-3
    assert 0.5 < stack(code).square().mean() < 8  # 2 where ReLU halves the mean square of every layer before
    assert all(not bias.any() for name, bias in generator.named_parameters() if name.endswith("bias"))


def test_he_normal_takes_the_fan_in_of_each_kind_of_layer():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Linear(50, 400), nn.Conv2d(8, 400, 3), nn.ConvTranspose2d(64, 64, 4, stride=2, bias=False)
    )
    he_normal(layers)
    for layer, fan_in in zip(layers, (50, 8 * 9, 64 * 4)):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)
