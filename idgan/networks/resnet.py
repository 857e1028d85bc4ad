"""The networks for natural images: pre-activation ResNets (Mescheder et al. 2018; Tables A.4 to A.7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from idgan.errors import InvalidInputError, check_integer
from idgan.networks.convolution import Unflatten
from idgan.networks.modules import MAX_CHANNELS, MAX_CODE_DIM, MAX_RESOLUTION, register_network

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

MIN_SIDE = 4
"""Side of the smallest feature maps. A fully connected layer follows or precedes them."""
SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""
RESIDUAL_SCALE = 0.1
"""Factor of the residual branch of a block."""


@dataclass(frozen=True, kw_only=True)
class ResNetShape:
    """Fields that the configs of these networks share. Feature maps halve from `resolution` down to 4x4.

    Attributes:
        resolution: side of the images in pixels, a power of two from 8 to 8192.
        base_width: channels at full resolution. They double at each halving.
        max_width: largest number of channels.
        image_channels: channels of the images.

    Raises:
        InvalidInputError: a size is out of range.
    """

    resolution: int = 64
    base_width: int = 64
    max_width: int = 512
    image_channels: int = 3

    def __post_init__(self) -> None:
        check_integer(2 * MIN_SIDE, MAX_RESOLUTION, resolution=self.resolution)
        if self.resolution & (self.resolution - 1):
            raise InvalidInputError(
                f"resolution must be a power of two from {2 * MIN_SIDE} to {MAX_RESOLUTION}, got {self.resolution}"
            )
        check_integer(
            1,
            MAX_CHANNELS,
            base_width=self.base_width,
            max_width=self.max_width,
            image_channels=self.image_channels,
        )

    @property
    def widths(self) -> list[int]:
        """Channels of each level, from full resolution down to 4x4."""
        levels = (self.resolution // MIN_SIDE).bit_length()
        return [min(self.max_width, self.base_width << level) for level in range(levels)]


class ResBlock(nn.Module):
    """shortcut(x) + 0.1 residual(x): (N, before, H, W) -> (N, after, H, W).

    Where `before` and `after` differ, the shortcut is a 1x1 convolution.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        hidden = min(before, after)
        self.residual = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(before, hidden, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(hidden, after, 3, padding=1),
        )
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(self.shortcut(x), self.residual(x), alpha=RESIDUAL_SCALE)


class Halving(nn.Module):
    """Average pooling over windows of 3x3 pixels with stride 2: (N, C, 2H, 2W) -> (N, C, H, W).

    Pixels beyond the border are zeros, which count. On a CPU, the pooling adds them. On other devices, they are added
    to the maps first. On CUDA, PyTorch's padded pooling has wrong gradients if channels are last in memory
    (https://github.com/pytorch/pytorch/issues/188344; fixed by pull request 188345). For other networks, see
    `memory_format_of` in `idgan/training/loop.py`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu":
            return F.avg_pool2d(x, 3, stride=2, padding=1)
        return F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, stride=2)


def res_blocks_down(image_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Image to features: (N, image_channels, H, H) -> (N, widths[-1], 4, 4).

    Each level has one block. Average pooling separates levels.
    """
    layers: list[nn.Module] = [nn.Conv2d(image_channels, widths[0], 3, padding=1), ResBlock(widths[0], widths[0])]
    for before, after in pairwise(widths):
        layers += [Halving(), ResBlock(before, after)]
    return nn.Sequential(*layers)


def logit_layers(width: int) -> nn.Sequential:
    """Features to one logit: (N, width, 4, 4) -> (N, 1)."""
    return nn.Sequential(nn.LeakyReLU(SLOPE), nn.Flatten(), nn.Linear(width * MIN_SIDE**2, 1))


@register_network()
@dataclass(frozen=True, kw_only=True)
class ResNetGeneratorConfig(ResNetShape):
    """Config of a generator of natural images.

    The paper uses `base_width` 64 up to 256x256 (Tables A.4 to A.6) and 16 at 1024x1024 (Table A.7).
    """

    c_dim: int = 20
    s_dim: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(1, MAX_CODE_DIM, c_dim=self.c_dim)
        check_integer(0, MAX_CODE_DIM, s_dim=self.s_dim)

    def build(self) -> "ResNetGenerator":
        """A `ResNetGenerator` with random weights."""
        return ResNetGenerator(self)


class ResNetGenerator(nn.Module):
    """G(s, c) of natural images: one block for each level from 4x4 up, with nearest upsampling (Tables A.4 to A.7)."""

    def __init__(self, config: ResNetGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        *_, last = widths = config.widths[::-1]
        layers: list[nn.Module] = [
            nn.Linear(config.s_dim + config.c_dim, widths[0] * MIN_SIDE**2),
            Unflatten(widths[0], MIN_SIDE),
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

    def forward(self, code: Tensor) -> Tensor:
        """cat([s, c]) (N, s_dim + c_dim) -> images (N, C, H, H) in [-1, 1]."""
        return self.layers(code)


@register_network()
@dataclass(frozen=True, kw_only=True)
class ResNetDiscriminatorConfig(ResNetShape):
    """Config of a discriminator of natural images (Tables A.4 to A.6)."""

    def build(self) -> "ResNetDiscriminator":
        """A `ResNetDiscriminator` with random weights."""
        return ResNetDiscriminator(self)


class ResNetDiscriminator(nn.Module):
    """D(x) of natural images: one block for each level down to 4x4, then one logit (Tables A.4 to A.6)."""

    def __init__(self, config: ResNetDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.layers = nn.Sequential(*res_blocks_down(config.image_channels, widths), *logit_layers(widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, H) in [-1, 1] -> logits (N,). A positive logit means "real"."""
        return self.layers(x).squeeze(1)
