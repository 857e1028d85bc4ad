"""The discriminator with a variational bottleneck for 1024x1024 images (Table A.7; Peng et al. 2019)."""

from dataclasses import dataclass

from torch import Tensor, nn

from idgan.networks.modules import register_network
from idgan.networks.posterior import Posterior
from idgan.networks.resnet import ResNetShape, logit_layers, res_blocks_down

__all__ = ["BottleneckDiscriminator", "BottleneckDiscriminatorConfig"]


@register_network()
@dataclass(frozen=True, kw_only=True)
class BottleneckDiscriminatorConfig(ResNetShape):
    """Config of a discriminator with a variational bottleneck (Table A.7)."""

    resolution: int = 1024
    base_width: int = 16

    def build(self) -> "BottleneckDiscriminator":
        """A `BottleneckDiscriminator` with random weights."""
        return BottleneckDiscriminator(self)


class BottleneckDiscriminator(nn.Module):
    """D(x) with a bottleneck: `encode` gives q(z|x), and `logits_of` reads a sample of z (Table A.7).

    q(z|x) is a diagonal Gaussian over z (N, width, 4, 4). `width` is the number of channels of the features.
    The caller draws z, because the noise of a training step comes from its batch.
    """

    def __init__(self, config: BottleneckDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.features = res_blocks_down(config.image_channels, widths)
        self.gaussian = nn.Conv2d(widths[-1], 2 * widths[-1], 1)
        self.logit = logit_layers(widths[-1])

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, C, H, H) in [-1, 1] -> q(z|x), a `Posterior` in float32 with parts (N, width, 4, 4)."""
        mean, log_std = self.gaussian(self.features(x)).float().chunk(2, dim=1)
        return Posterior(mean, 2 * log_std)

    def logits_of(self, z: Tensor) -> Tensor:
        """z (N, width, 4, 4) -> logits (N,). A positive logit means "real"."""
        return self.logit(z).squeeze(1)
