"""Widening: the wide network computes what the narrow one computes, and its copies of a channel become different."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, ResNetDiscriminatorConfig, ResNetGeneratorConfig
from idgan.networks.widening import deepened, widened
from idgan.rng import seeded_rng


def pair(config, factor, max_width=32, **sizes):
    """A narrow network and the wide one that starts from it."""
    narrow, wide = (
        config(base_width=4 * times, max_width=max_width * times, **sizes).build().requires_grad_(False)
        for times in (1, factor)
    )
    for parameter in narrow.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=seeded_rng(3)) / parameter[0].numel() ** 0.5)
    wide.load_state_dict(widened(narrow.state_dict(), wide, seeded_rng(5)))
    return narrow, wide


@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("max_width", [32, 8])
def test_a_wide_generator_draws_the_same_images(factor, max_width):
    narrow, wide = pair(ResNetGeneratorConfig, factor, max_width, resolution=16, s_dim=6, c_dim=3)
    code = torch.randn(5, 9, generator=seeded_rng(0))
    assert narrow(code).std() > 0.05
    torch.testing.assert_close(wide(code), narrow(code), atol=5e-6, rtol=0)


def test_a_wide_discriminator_gives_the_same_logits():
    narrow, wide = pair(ResNetDiscriminatorConfig, 2, resolution=16)
    x = torch.rand(3, 3, 16, 16, generator=seeded_rng(0)) * 2 - 1
    torch.testing.assert_close(wide(x), narrow(x), atol=2e-6, rtol=1e-5)


def test_one_step_makes_the_copies_of_a_channel_different():
    _, wide = pair(ResNetGeneratorConfig, 2, resolution=8, s_dim=6, c_dim=3)
    first = wide.layers[0]
    channels = lambda: first.weight.detach().reshape(2, -1, 9)  # each channel of the narrow network, twice
    assert torch.equal(*channels())
    wide.requires_grad_(True)
    optimizer = torch.optim.SGD(wide.parameters(), 0.1)
    wide(torch.randn(4, 9, generator=seeded_rng(0))).square().mean().backward()
    optimizer.step()
    assert (channels()[0] != channels()[1]).any(1).float().mean() > 0.9


def test_the_parts_are_a_function_of_the_seed():
    narrow, wide = pair(ResNetGeneratorConfig, 2, resolution=8)
    first, again, other = (widened(narrow.state_dict(), wide, seeded_rng(seed)) for seed in (1, 1, 2))
    name = "layers.2.residual.1.weight"
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])


def test_a_block_that_loses_its_shortcut_keeps_its_own_weights():
    config = ResNetGeneratorConfig(resolution=16, base_width=4, max_width=16, s_dim=6, c_dim=3)
    narrow, wide = config.build(), replace(config, base_width=8).build()  # widths 16, 8, 4 and 16, 16, 8
    before = wide.state_dict()
    weights = widened(narrow.state_dict(), wide, seeded_rng(5))
    assert all(torch.equal(weights[name], before[name]) for name in before if name.startswith("layers.2."))
    wide.load_state_dict(weights)
    code, x = torch.randn(2, 9, generator=seeded_rng(0)), torch.randn(2, 8, 8, 8, generator=seeded_rng(1))
    assert torch.equal(wide.layers[:2](code), narrow.layers[:2](code))
    after = wide.layers[4:](torch.cat([x, x], 1)), narrow.layers[4:](x)  # layers.2 and its upsampling left out
    torch.testing.assert_close(*after, atol=5e-6, rtol=0)


@pytest.mark.parametrize(
    ("narrow", "wide", "message"),
    [
        (
            ResNetGeneratorConfig(resolution=8, base_width=4),
            ResNetGeneratorConfig(resolution=8, base_width=12),
            "layers.0.weight has the shape",
        ),
        (
            ResNetGeneratorConfig(resolution=8, base_width=8),
            ResNetGeneratorConfig(resolution=8, base_width=4),
            "layers.0.weight has the shape",
        ),
        (
            ResNetGeneratorConfig(resolution=8, base_width=4, c_dim=3),
            ResNetGeneratorConfig(resolution=8, base_width=8),
            "layers.0.weight",
        ),
        (ResNetGeneratorConfig(resolution=8), ConvGeneratorConfig(), "only one of the two networks has the weights"),
    ],
)
def test_other_networks_are_refused(narrow, wide, message):
    with pytest.raises(InvalidInputError, match=message):
        widened(narrow.build().state_dict(), wide.build(), seeded_rng(0))


@pytest.mark.parametrize(
    "make",
    [lambda n: nn.Sequential(nn.ConvTranspose2d(n, n, 4)), lambda n: nn.Sequential(nn.Conv2d(n, n, 3, groups=2))],
)
def test_a_layer_of_another_kind_is_not_widened(make):
    narrow, wide = make(2), make(4)
    with pytest.raises(InvalidInputError, match="0.weight has the shape"):
        widened(narrow.state_dict(), wide, seeded_rng(0))


def test_a_generator_of_larger_images_starts_with_the_blocks_of_a_smaller_one():
    small = ResNetGeneratorConfig(resolution=16, base_width=8, max_width=32).build()
    large = ResNetGeneratorConfig(resolution=32, base_width=4, max_width=32).build()
    before = {name: value.clone() for name, value in large.state_dict().items()}
    weights = deepened(small.state_dict(), large)
    assert all(torch.equal(value, before[name]) for name, value in large.state_dict().items())
    large.load_state_dict(weights)
    code = torch.randn(2, 276, generator=seeded_rng(0))
    trunk = 6  # the linear layer, and two blocks with their upsampling
    assert torch.equal(large.layers[:trunk](code), small.layers[:trunk](code))
    kept = [name for name in before if int(name.split(".")[1]) >= trunk]
    assert kept and all(torch.equal(weights[name], before[name]) for name in kept)


def test_a_generator_without_a_common_layer_is_refused():
    small = ResNetGeneratorConfig(resolution=8, base_width=4).build()
    large = ResNetGeneratorConfig(resolution=16, base_width=16).build()
    with pytest.raises(InvalidInputError, match=r"layers\.0\.weight has the shape \(128, 276\), and not \(1024, 276\)"):
        deepened(small.state_dict(), large)
