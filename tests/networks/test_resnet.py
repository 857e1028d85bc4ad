import dataclasses
import math
import tracemalloc

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import ModelConfig, ResNetDiscriminatorConfig, ResNetGeneratorConfig, VAEConfig
from idgan.networks.resnet import ResBlock

SMALL = {"resolution": 32, "base_width": 2, "max_width": 8}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def conv(before, after, kernel=3):
    """Parameters of a convolution with bias."""
    return before * after * kernel**2 + after


def block(before, after):
    """Parameters of a residual block: two 3x3 convolutions over min(before, after) channels, and a 1x1 shortcut."""
    hidden = min(before, after)
    return conv(before, hidden) + conv(hidden, after) + (before * after if before != after else 0)


# The widths of the tables, from 4x4 up.
TABLES = {
    (64, 64): (512, 512, 256, 128, 64),  # A.4
    (128, 64): (512, 512, 512, 256, 128, 64),  # A.5
    (256, 64): (512, 512, 512, 512, 256, 128, 64),  # A.6
    (1024, 16): (512, 512, 512, 512, 256, 128, 64, 32, 16),  # A.7
}


@pytest.mark.parametrize(("size", "widths"), TABLES.items())
def test_generator_has_the_parameters_of_its_table(size, widths):
    resolution, base_width = size
    with torch.device("meta"):
        generator = ResNetGeneratorConfig(resolution=resolution, base_width=base_width).build()
    dense = (256 + 20) * 4 * 4 * 512 + 4 * 4 * 512
    blocks = sum(block(*pair) for pair in zip(widths, widths[1:])) + block(base_width, base_width)
    assert count(generator) == dense + blocks + conv(base_width, 3)


@pytest.mark.parametrize(("size", "widths"), [*TABLES.items()][:3])
def test_discriminator_has_the_parameters_of_its_table(size, widths):
    resolution, base_width = size
    with torch.device("meta"):
        discriminator = ResNetDiscriminatorConfig(resolution=resolution, base_width=base_width).build()
    blocks = block(base_width, base_width) + sum(block(after, before) for before, after in zip(widths, widths[1:]))
    assert count(discriminator) == conv(3, base_width) + blocks + (4 * 4 * 512 + 1)


@pytest.mark.parametrize(("resolution", "levels"), [(8, 2), (64, 5), (1024, 9)])
def test_widths_double_at_each_halving_up_to_the_most(resolution, levels):
    config = ResNetDiscriminatorConfig(resolution=resolution, base_width=3, max_width=20)
    assert config.widths == [3, 6, 12, 20, 20, 20, 20, 20, 20][:levels]


@pytest.mark.parametrize(("resolution", "channels"), [(8, 1), (32, 3), (128, 3)])
def test_shapes(resolution, channels):
    generator = ResNetGeneratorConfig(
        c_dim=5, s_dim=3, resolution=resolution, base_width=2, max_width=8, image_channels=channels
    ).build()
    discriminator = ResNetDiscriminatorConfig(
        resolution=resolution, base_width=2, max_width=8, image_channels=channels
    ).build()
    x = generator(torch.randn(2, 8))
    assert x.shape == (2, channels, resolution, resolution)
    assert discriminator(x).shape == (2,)
    assert discriminator(x[:1]).shape == (1,)


@pytest.mark.parametrize("config", [ResNetGeneratorConfig, ResNetDiscriminatorConfig])
@pytest.mark.parametrize("resolution", [63, 96, 8191])
def test_resolutions_that_do_not_halve_down_to_4_are_refused(config, resolution):
    with pytest.raises(InvalidInputError, match=f"resolution must be a power of two from 8 to 8192, got {resolution}"):
        config(resolution=resolution)


@pytest.mark.parametrize("config", [ResNetGeneratorConfig, ResNetDiscriminatorConfig])
@pytest.mark.parametrize("resolution", [0, 1, 4, 16_384, 64.0, "64", None])
def test_resolutions_out_of_range_are_refused(config, resolution):
    with pytest.raises(InvalidInputError, match=f"resolution must be an integer from 8 to 8192, got {resolution!r}"):
        config(resolution=resolution)


@pytest.mark.parametrize(
    ("name", "value"),
    [("base_width", 0), ("max_width", 4097), ("image_channels", 0), ("c_dim", 0), ("s_dim", -1), ("s_dim", 4097)],
)
def test_widths_and_code_dimensions_out_of_range_are_refused(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be an integer from . to 4096, got {value}"):
        ResNetGeneratorConfig(**{name: value})


# ------------------------------------------------------------------ the layers, against their description


def blocks_by_hand(x, convolutions, shortcut=None):
    """lrelu, conv, lrelu, conv, a tenth of it added to the shortcut; `convolutions` is two (weight, bias)."""
    y = x
    for weight, bias in convolutions:
        y = F.conv2d(F.leaky_relu(y, 0.2), weight, bias, padding=1)
    return (x if shortcut is None else F.conv2d(x, shortcut)) + y / 10


def parameters(module):
    """The (weight, bias) of each 3x3 convolution of a block, and the weight of its shortcut or None."""
    state = module.state_dict()
    convolutions = [(state[f"residual.{i}.weight"], state[f"residual.{i}.bias"]) for i in (1, 3)]
    return convolutions, state.get("shortcut.weight")


@pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 5), (5, 3)])
def test_block_is_what_it_says(before, after):
    module, x = ResBlock(before, after), torch.randn(2, before, 6, 6)
    torch.testing.assert_close(module(x), blocks_by_hand(x, *parameters(module)))


def test_generator_is_what_it_says():
    config = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL)
    generator, code = config.build(), torch.randn(2, 7)
    dense, image = generator.layers[0], generator.layers[-2]
    *blocks, last = [module for module in generator.layers if isinstance(module, ResBlock)]
    x = F.linear(code, dense.weight, dense.bias).reshape(2, 8, 4, 4)
    for module in blocks:
        x = blocks_by_hand(x, *parameters(module)).repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = blocks_by_hand(x, *parameters(last))
    torch.testing.assert_close(
        generator(code), F.conv2d(F.leaky_relu(x, 0.2), image.weight, image.bias, padding=1).tanh()
    )


def test_discriminator_is_what_it_says():
    discriminator, x = ResNetDiscriminatorConfig(**SMALL).build(), torch.rand(2, 3, 32, 32) * 2 - 1
    image, dense = discriminator.layers[0], discriminator.layers[-1]
    first, *blocks = [module for module in discriminator.layers if isinstance(module, ResBlock)]
    y = blocks_by_hand(F.conv2d(x, image.weight, image.bias, padding=1), *parameters(first))
    for module in blocks:
        y = F.pad(y, (1, 1, 1, 1)).unfold(2, 3, 2).unfold(3, 3, 2).mean((4, 5))
        y = blocks_by_hand(y, *parameters(module))
    torch.testing.assert_close(
        discriminator(x), F.linear(F.leaky_relu(y, 0.2).flatten(1), dense.weight, dense.bias)[:, 0]
    )


def test_generator_gives_signed_images():
    images = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build()(1000 * torch.randn(3, 7))
    assert -1 <= images.min() < 0 < images.max() <= 1


def test_logits_are_not_bounded():
    discriminator, x = ResNetDiscriminatorConfig(**SMALL).build(), torch.rand(2, 3, 32, 32)
    before = discriminator(x)
    nn.init.constant_(discriminator.layers[-1].bias, discriminator.layers[-1].bias.item() - 10)
    torch.testing.assert_close(discriminator(x), before - 10)


def test_every_code_dimension_reaches_the_image():
    generator, code = ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build(), torch.randn(1, 7, requires_grad=True)
    generator(code).square().sum().backward()
    assert (code.grad != 0).all()


def test_a_batch_is_its_images():
    generator, discriminator = (
        ResNetGeneratorConfig(c_dim=4, s_dim=3, **SMALL).build(),
        ResNetDiscriminatorConfig(**SMALL).build(),
    )
    code = torch.randn(3, 7)
    x = generator(code)
    torch.testing.assert_close(torch.cat([generator(row[None]) for row in code]), x)
    torch.testing.assert_close(torch.cat([discriminator(image[None]) for image in x]), discriminator(x))


# ------------------------------------------------------------------ the config


@pytest.mark.parametrize("config", [ResNetGeneratorConfig(**SMALL), ResNetDiscriminatorConfig(**SMALL)])
def test_networks_carry_their_config(config):
    assert config.build().config is config


def test_a_model_with_a_resnet_goes_through_json():
    config = ModelConfig(VAEConfig(c_dim=20, image_channels=3), ResNetGeneratorConfig(resolution=256, base_width=32))
    assert (config.resolution, config.c_dim, config.s_dim, config.image_channels) == (256, 20, 256, 3)
    assert ModelConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("name", "value"), [("resolution", 96), ("resolution", 4), ("base_width", 0), ("max_width", -1), ("s_dim", "256")]
)
def test_a_model_of_an_impossible_shape_is_refused(name, value):
    values = ModelConfig(VAEConfig(c_dim=20, image_channels=3), ResNetGeneratorConfig()).to_dict()
    values["generator"][name] = value
    with pytest.raises(InvalidInputError, match=f"ResNetGeneratorConfig.*{name} must be"):
        ModelConfig.from_dict(values)


def test_the_largest_shape_a_file_may_claim_costs_no_memory_to_look_at():
    config = dataclasses.replace(ResNetGeneratorConfig(), resolution=8192, base_width=4096, max_width=4096)
    tracemalloc.start()
    with torch.device("meta"):
        generator = config.build()
    assert math.log2(count(generator)) > 31
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()
