"""A discriminator that reads features of a frozen network (Sauer et al. 2021, "Projected GANs Converge Faster")."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from idgan.errors import InvalidInputError, check_integer
from idgan.networks.modules import MAX_CHANNELS, MAX_RESOLUTION, register_network
from idgan.networks.pyramids import open_pyramid

__all__ = [
    "FeatureMixing",
    "ProjectedDiscriminator",
    "ProjectedDiscriminatorConfig",
    "ScaleDiscriminator",
    "mixing_weight",
    "without_autocast",
]

MIN_SIDE = 4
"""Side of the smallest maps. Each scale discriminator reduces its maps to this side before its logit."""
SLOPE = 0.2
"""Negative slope of the leaky ReLUs."""


@register_network()
@dataclass(frozen=True, kw_only=True)
class ProjectedDiscriminatorConfig:
    """Config of a projected discriminator.

    Attributes:
        features: name of the frozen network, see `idgan.networks.pyramids.FEATURE_PYRAMIDS`.
        resolution: side of the images in pixels, a power of two from 8 to 8192.
        image_channels: channels of the images, 1 or 3.
        base_width: channels of the finest mixed map. They double at each halving.
        max_width: largest number of channels of a mixed map.
        head_width: channels of the scale discriminators.

    Raises:
        InvalidInputError: a size is out of range.
    """

    features: str = "efficientnet-lite1"
    resolution: int = 64
    image_channels: int = 3
    base_width: int = 32
    max_width: int = 64
    head_width: int = 64

    def __post_init__(self) -> None:
        check_integer(2 * MIN_SIDE, MAX_RESOLUTION, resolution=self.resolution)
        if self.resolution & (self.resolution - 1):
            raise InvalidInputError(
                f"resolution must be a power of two from {2 * MIN_SIDE} to {MAX_RESOLUTION}, got {self.resolution}"
            )
        widths = {"base_width": self.base_width, "max_width": self.max_width, "head_width": self.head_width}
        check_integer(1, MAX_CHANNELS, **widths)
        if self.image_channels not in (1, 3):
            raise InvalidInputError(f"image_channels must be 1 or 3, got {self.image_channels!r:.100}")

    def build(self) -> "ProjectedDiscriminator":
        """A `ProjectedDiscriminator` with random weights."""
        return ProjectedDiscriminator(self)


class ProjectedDiscriminator(nn.Module):
    """A frozen feature pyramid, random mixing of its maps, and one small discriminator for each scale.

    Only the scale discriminators are trained (Sauer et al. 2021, section 3). Gradients reach the images through the
    frozen network. The state holds the mixing weights, but not the frozen network. `identity` names its weights.

    Attributes:
        identity: "features_sha256" and "features_from", hash and packages of the frozen network.

    Raises:
        InvalidInputError: the smallest map would be smaller than 4x4.
    """

    def __init__(self, config: ProjectedDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        pyramid = open_pyramid(config.features)
        self.identity = {"features_sha256": pyramid.sha256, "features_from": " ".join(pyramid.packages)}
        sides = [config.resolution >> level + 1 for level in range(len(pyramid.channels))]
        if sides[-1] < MIN_SIDE:
            smallest = MIN_SIDE << len(sides)
            raise InvalidInputError(
                f"{config.features} needs a resolution of {smallest} or more, got {config.resolution}"
            )
        widths = [min(config.base_width << level, config.max_width) for level in range(len(sides))]
        self.mixing = FeatureMixing(pyramid.channels, pyramid.deviations, widths, torch.default_generator)
        self.heads = nn.ModuleList(
            ScaleDiscriminator(width, side, config.head_width) for width, side in zip(widths, sides)
        )
        # A tuple hides the frozen network from PyTorch: it is in no state, and `train` does not reach it.
        self._hidden = (pyramid,)

    @property
    def pyramid(self) -> Any:
        """The frozen network, a `FeaturePyramid`."""
        return self._hidden[0]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> "ProjectedDiscriminator":
        """Move or convert the frozen network together with the module."""
        self.pyramid._apply(fn)
        super()._apply(fn, recurse)
        return self

    def features(self, x: Tensor) -> list[Tensor]:
        """Gray or RGB images (N, C, H, H) in [-1, 1] -> mixed maps in float32, from the finest to the coarsest.

        The frozen network computes in float32. On CPUs, strided depthwise convolutions are many times slower in bf16.
        """
        with without_autocast(x.device):
            mixed: list[Tensor] = self.mixing(self.pyramid(x.float().expand(-1, 3, -1, -1)))
            return mixed

    def logits_of(self, maps: Sequence[Tensor]) -> Tensor:
        """Mixed maps -> logits (N, scales) in float32. A positive logit means "real"."""
        return torch.stack([head(z).float() for head, z in zip(self.heads, maps)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, H) in [-1, 1] -> logits (N,), the sum over scales. A positive logit means "real"."""
        return self.logits_of(self.features(x)).sum(1)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Context in which `torch.autocast` is off on `device`."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


class FeatureMixing(nn.Module):
    """Fixed random 1x1 convolutions across channels and across scales (Sauer et al. 2021, section 3.2).

    Across channels, each map gets its new width and a standard deviation of about 1. Across scales, from the coarsest
    map to the finest, z_i <- (z_i + up2(1x1(z_{i+1}))) / sqrt(2).

    Args:
        channels, deviations: those of the maps of the pyramid.
        widths: channels of the mixed maps.
        rng: source of the weights.
    """

    def __init__(
        self, channels: Sequence[int], deviations: Sequence[float], widths: Sequence[int], rng: torch.Generator
    ) -> None:
        super().__init__()
        for level, (before, deviation, after) in enumerate(zip(channels, deviations, widths)):
            self.register_buffer(f"across_channels_{level}", mixing_weight(before, after, rng) / deviation)
        for level, (after, before) in enumerate(zip(widths[:-1], widths[1:])):
            self.register_buffer(f"across_scales_{level}", mixing_weight(before, after, rng))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        mixed = [F.conv2d(z, self.get_buffer(f"across_channels_{level}")) for level, z in enumerate(maps)]
        for level in reversed(range(len(mixed) - 1)):
            coarser = F.conv2d(mixed[level + 1], self.get_buffer(f"across_scales_{level}"))
            mixed[level] = (mixed[level] + F.interpolate(coarser, scale_factor=2, mode="bilinear")) / 2**0.5
        return mixed


def mixing_weight(before: int, after: int, rng: torch.Generator) -> Tensor:
    """Weight (after, before, 1, 1) of a random convolution, from N(0, 1 / before).

    The convolution keeps the mean square of its input on average.
    """
    weight = torch.empty(after, before, 1, 1)
    return weight.copy_(torch.randn(after, before, 1, 1, generator=rng, device="cpu") / before**0.5)


class ScaleDiscriminator(nn.Module):
    """The discriminator of one scale: strided 4x4 convolutions down to 4x4, then a convolution to one logit.

    All have spectral norm, which divides a weight by its largest singular value (Miyato et al. 2018). It is computed in
    float32.
    """

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range((side // MIN_SIDE).bit_length() - 1):
            layers += [spectral_norm(nn.Conv2d(channels, width, 4, stride=2, padding=1)), nn.LeakyReLU(SLOPE)]
            channels = width
        self.layers = nn.Sequential(*layers, spectral_norm(nn.Conv2d(channels, 1, MIN_SIDE)))

    def forward(self, z: Tensor) -> Tensor:
        """Maps (N, channels, side, side) -> logits (N,)."""
        return self.layers(z).flatten()
