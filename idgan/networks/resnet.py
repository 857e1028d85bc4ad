"""The networks of natural images: pre-activation ResNets (Mescheder et al. 2018; tables A.4 to A.6, and the generator of A.7)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from idgan.errors import InvalidInputError

__all__ = [
    "ResBlock",
    "ResNetDiscriminator",
    "ResNetDiscriminatorConfig",
    "ResNetGenerator",
    "ResNetGeneratorConfig",
    "ResNetShape",
    "logit_layers",
    "res_blocks_down",
]

SMALLEST = 4
"""The side of the smallest feature maps; fully connected layers lead there and away."""
SLOPE = 0.2
RESIDUAL_SCALE = 0.1


@dataclass(frozen=True, kw_only=True)
class ResNetShape:
    """What the shapes of these networks share: feature maps of `resolution` down to 4x4, halving, on images of `image_channels`.

    Raises:
        InvalidInputError: `resolution` is not a power of two, or less than 8.
    """

    resolution: int = 64
    base_width: int = 64
    max_width: int = 512
    image_channels: int = 3

    def __post_init__(self):
        if self.resolution < 2 * SMALLEST or self.resolution & (self.resolution - 1):
            raise InvalidInputError(
                f"{type(self).__name__}.resolution must be a power of two from 8 on, got {self.resolution}"
            )

    @property
    def widths(self):
        """Channels of every level, the largest map first: `base_width`, doubled at each halving, at most `max_width`."""
        levels = (self.resolution // SMALLEST).bit_length()
        return [min(self.max_width, self.base_width << level) for level in range(levels)]


class ResBlock(nn.Module):
    """shortcut(x) + 0.1 residual(x): (N, before, H, W) -> (N, after, H, W). The shortcut is a 1x1 convolution where the widths differ."""

    def __init__(self, before, after):
        super().__init__()
        hidden = min(before, after)
        self.residual = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(before, hidden, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(hidden, after, 3, padding=1),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x):
        return torch.add(self.shortcut(x), self.residual(x), alpha=RESIDUAL_SCALE)


def res_blocks_down(image_channels, widths):
    """Image to features: (N, image_channels, H, H) -> (N, widths[-1], 4, 4), a block a level, average pooling in between."""
    layers = [nn.Conv2d(image_channels, widths[0], 3, padding=1), ResBlock(widths[0], widths[0])]
    for before, after in pairwise(widths):
        layers += [nn.AvgPool2d(3, stride=2, padding=1), ResBlock(before, after)]
    return nn.Sequential(*layers)


def logit_layers(width):
    """Features to one logit: (N, width, 4, 4) -> (N, 1)."""
    return nn.Sequential(nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(width * SMALLEST**2, 1))


@dataclass(frozen=True, kw_only=True)
class ResNetGeneratorConfig(ResNetShape):
    """Shape of a generator of natural images: `base_width` is 64 up to 256x256 (tables A.4 to A.6), 16 at 1024x1024 (table A.7)."""

    c_dim: int = 20
    s_dim: int = 256

    def build(self):
        """A `ResNetGenerator` with random weights."""
        return ResNetGenerator(self)


class ResNetGenerator(nn.Module):
    """G(s, c) of natural images: a block a level from 4x4 up, nearest upsampling in between, a convolution, tanh (tables A.4 to A.7)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        *_, last = widths = config.widths[::-1]
        layers = [
            nn.Linear(config.s_dim + config.c_dim, widths[0] * SMALLEST**2),
            nn.Unflatten(1, (widths[0], SMALLEST, SMALLEST)),
        ]
        for before, after in pairwise(widths):
            layers += [ResBlock(before, after), nn.Upsample(scale_factor=2, mode="nearest")]
        layers += [
            ResBlock(last, last),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(last, config.image_channels, 3, padding=1),
            nn.Tanh(),
        ]
        self.layers = nn.Sequential(*layers)

    def forward(self, code):
        """cat([s, c]) (N, s_dim + c_dim) -> images (N, C, H, H) in [-1, 1]."""
        return self.layers(code)


@dataclass(frozen=True, kw_only=True)
class ResNetDiscriminatorConfig(ResNetShape):
    """Shape of a discriminator of natural images (tables A.4 to A.6)."""

    def build(self):
        """A `ResNetDiscriminator` with random weights."""
        return ResNetDiscriminator(self)


class ResNetDiscriminator(nn.Module):
    """D(x) of natural images: a convolution, a block a level down to 4x4, one logit (tables A.4 to A.6)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        widths = config.widths
        self.layers = nn.Sequential(*res_blocks_down(config.image_channels, widths), *logit_layers(widths[-1]))

    def forward(self, x):
        """Images (N, C, H, H) in [-1, 1] -> logits (N,); positive means real."""
        return self.layers(x).squeeze(1)
