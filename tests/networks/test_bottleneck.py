import pytest
import torch

from idgan.errors import InvalidInputError
from idgan.networks import BottleneckDiscriminatorConfig, ResNetDiscriminatorConfig
from idgan.objectives import terms

SMALL = {"resolution": 32, "base_width": 2, "max_width": 8}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_it_is_the_plain_discriminator_with_a_1x1_convolution_to_mean_and_log_std():
    with torch.device("meta"):
        plain = ResNetDiscriminatorConfig(resolution=1024, base_width=16).build()
        assert count(BottleneckDiscriminatorConfig().build()) == count(plain) + 512 * 1024 + 1024
    assert count(plain) == 16_705_201


def test_table_a7_is_the_default():
    config = BottleneckDiscriminatorConfig()
    assert (config.resolution, config.base_width, config.max_width, config.image_channels) == (1024, 16, 512, 3)
    assert config.widths == [16, 32, 64, 128, 256, 512, 512, 512, 512]


def test_a_draw_at_each_of_4x4_positions_gives_one_logit():
    discriminator, x = BottleneckDiscriminatorConfig(**SMALL).build(), torch.rand(3, 3, 32, 32) * 2 - 1
    posterior = discriminator.encode(x)
    assert posterior.mean.shape == posterior.logvar.shape == (3, 8, 4, 4)
    assert discriminator.logits_of(posterior.mean).shape == (3,)
    assert discriminator.logits_of(posterior.mean[:1]).shape == (1,)


def test_the_convolution_gives_mean_and_log_of_the_standard_deviation():
    discriminator, x = BottleneckDiscriminatorConfig(**SMALL).build(), torch.rand(2, 3, 32, 32)
    made = discriminator.gaussian(discriminator.features(x))
    posterior = discriminator.encode(x)
    noise = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(posterior.sample(noise), made[:, :8] + made[:, 8:].exp() * noise)


def test_the_kl_of_a_position_is_summed_over_channels_and_averaged_over_positions_and_images():
    discriminator, x = BottleneckDiscriminatorConfig(**SMALL).build(), torch.rand(2, 3, 32, 32)
    posterior = discriminator.encode(x)
    normal = torch.distributions.Normal(posterior.mean, (posterior.logvar / 2).exp())
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(terms.kl_divergence(posterior), kl.sum() / (2 * 4 * 4))


def test_q_is_in_float32_under_autocast():
    discriminator, x = BottleneckDiscriminatorConfig(**SMALL).build(), torch.rand(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        posterior = discriminator.encode(x)
    assert posterior.mean.dtype == posterior.logvar.dtype == torch.float32


def test_resolutions_are_checked():
    with pytest.raises(InvalidInputError, match="resolution must be a power of two from 8 to 8192, got 1000"):
        BottleneckDiscriminatorConfig(resolution=1000)


def test_it_carries_its_config():
    config = BottleneckDiscriminatorConfig(**SMALL)
    assert config.build().config is config
