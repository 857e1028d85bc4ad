"""The discriminator with a variational bottleneck, for 1024x1024 (table A.7; Peng et al. 2019)."""

from dataclasses import dataclass

from torch import nn

from idgan.networks.resnet import ResNetShape, logit_layers, res_blocks_down
from idgan.networks.vae import Posterior

__all__ = ["BottleneckDiscriminator", "BottleneckDiscriminatorConfig"]


@dataclass(frozen=True, kw_only=True)
class BottleneckDiscriminatorConfig(ResNetShape):
    """Shape of a discriminator with a variational bottleneck (table A.7)."""

    resolution: int = 1024
    base_width: int = 16

    def build(self):
        """A `BottleneckDiscriminator` with random weights."""
        return BottleneckDiscriminator(self)


class BottleneckDiscriminator(nn.Module):
    """D(x) behind a bottleneck: features of x give q(z|x), and a draw of z gives the logit (table A.7).

    q(z|x) is a diagonal Gaussian over z (N, width, 4, 4), where `width` is that of the features. Who trains it chooses the draw, for the
    noise of a training step is the batch's.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        widths = config.widths
        self.features = res_blocks_down(config.image_channels, widths)
        self.gaussian = nn.Conv2d(widths[-1], 2 * widths[-1], 1)
        self.logit = logit_layers(widths[-1])

    def encode(self, x):
        """Images (N, C, H, H) in [-1, 1] -> q(z|x), a `Posterior` whose parts are (N, width, 4, 4), in float32."""
        mean, log_std = self.gaussian(self.features(x)).float().chunk(2, dim=1)
        return Posterior(mean, 2 * log_std)

    def judge(self, z):
        """z (N, width, 4, 4) -> logits (N,); positive means real."""
        return self.logit(z).squeeze(1)
