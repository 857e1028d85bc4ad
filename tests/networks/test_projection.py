from dataclasses import dataclass

import pytest
import torch
from torch import nn

from idgan.errors import InvalidInputError
from idgan.networks import ConvDiscriminatorConfig, ProjectionDiscriminatorConfig, ResNetDiscriminatorConfig

NETWORKS = [
    ConvDiscriminatorConfig(image_channels=3),
    ResNetDiscriminatorConfig(resolution=64, base_width=2, max_width=4),
    ResNetDiscriminatorConfig(resolution=16, base_width=2, max_width=4),
]
every_network = pytest.mark.parametrize(
    "network", NETWORKS, ids=lambda config: f"{type(config).__name__}-{config.resolution}"
)


@pytest.fixture
def images():
    return lambda config, n=3: torch.rand(n, config.image_channels, config.resolution, config.resolution) * 2 - 1


@every_network
def test_it_tells_the_shape_of_its_images(network):
    config = ProjectionDiscriminatorConfig(network, c_dim=4)
    assert (config.resolution, config.image_channels) == (network.resolution, 3)
    assert config.build().config is config


@every_network
def test_a_code_of_zeros_gives_the_logit_of_the_image_alone(network, images):
    discriminator, x = ProjectionDiscriminatorConfig(network, c_dim=4).build(), images(network)
    torch.testing.assert_close(discriminator(x, torch.zeros(3, 4)), discriminator.network(x))


@every_network
def test_the_logit_is_linear_in_the_code_with_a_slope_that_depends_on_the_image(network, images):
    discriminator, x = ProjectionDiscriminatorConfig(network, c_dim=4).build(), images(network)
    a, b, zero = torch.randn(3, 4), torch.randn(3, 4), torch.zeros(3, 4)
    base = discriminator(x, zero)
    torch.testing.assert_close(
        discriminator(x, a + 2 * b) - base,
        discriminator(x, a) - base + 2 * (discriminator(x, b) - base),
        rtol=1e-3,
        atol=1e-5,
    )
    code = torch.ones(1, 4).expand(3, 4)
    slopes = discriminator(x, code) - base
    assert slopes.unique().numel() == 3


@every_network
def test_a_logit_depends_on_its_own_pair_only(network, images):
    discriminator, x, c = ProjectionDiscriminatorConfig(network, c_dim=4).build(), images(network), torch.randn(3, 4)
    logits = discriminator(x, c)
    assert logits.shape == (3,)
    torch.testing.assert_close(discriminator(x[1:2], c[1:2]), logits[1:2])
    assert not torch.allclose(discriminator(x, c.flip(0)), logits)


def test_to_both_families_the_projection_adds_one_row_of_features_a_code_dimension():
    features = {
        ConvDiscriminatorConfig(): 256,
        ResNetDiscriminatorConfig(resolution=64, base_width=2, max_width=4): 4 * 16,
    }
    for network, width in features.items():
        discriminator = ProjectionDiscriminatorConfig(network, c_dim=7).build()
        assert (
            sum(p.numel() for p in discriminator.parameters())
            == sum(p.numel() for p in network.build().parameters()) + 7 * width
        )


def test_it_can_learn_to_refuse_a_code_of_another_image():
    """Two images and two codes. Only their pairing separates real from fake."""
    torch.manual_seed(0)
    discriminator = ProjectionDiscriminatorConfig(ConvDiscriminatorConfig(), c_dim=1).build()
    x, c = torch.stack([torch.full((1, 64, 64), -1.0), torch.full((1, 64, 64), 1.0)]), torch.tensor([[-1.0], [1.0]])
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    for _ in range(60):
        loss = nn.functional.softplus(-discriminator(x, c)).mean() + nn.functional.softplus(discriminator(x, -c)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2


def test_a_network_that_does_not_end_in_a_linear_layer_is_refused():
    @dataclass(frozen=True)
    class Config:
        def build(self):
            return nn.Sequential(nn.Flatten(), nn.LazyLinear(1))

    with pytest.raises(InvalidInputError, match="ends in nn.Linear; Sequential has none"):
        ProjectionDiscriminatorConfig(Config()).build()
