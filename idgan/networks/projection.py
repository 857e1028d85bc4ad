"""A discriminator of images together with their codes, for the conditional GAN (Miyato & Koyama 2018)."""

from dataclasses import dataclass, field

from torch import nn

from idgan.networks.conv import ConvDiscriminatorConfig
from idgan.networks.resnet import ResNetDiscriminatorConfig

__all__ = ["ProjectionDiscriminator", "ProjectionDiscriminatorConfig"]


@dataclass(frozen=True)
class ProjectionDiscriminatorConfig:
    """Shape of a projection discriminator: the `network` that judges images alone, and the `c_dim` of the codes it is told."""

    network: ConvDiscriminatorConfig | ResNetDiscriminatorConfig = field(default_factory=ConvDiscriminatorConfig)
    c_dim: int = 10

    @property
    def image_channels(self):
        return self.network.image_channels

    @property
    def resolution(self):
        return self.network.resolution

    def build(self):
        """A `ProjectionDiscriminator` with random weights."""
        return ProjectionDiscriminator(self)


class ProjectionDiscriminator(nn.Module):
    """D(x, c) = f(h) + <c, V h>, with h the last features of an ordinary discriminator of x, f its last layer (Miyato & Koyama 2018).

    The projection is the field's standard way to condition a discriminator, and asks of a family only that its last layer is linear.
    """

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.network = config.network.build()
        self.projection = nn.Linear(self.network.layers[-1].in_features, config.c_dim, bias=False)

    def forward(self, x, c):
        """Images (N, C, H, H) in [-1, 1] and codes (N, c_dim) -> logits (N,); positive means a real image and a code of it."""
        h = self.network.layers[:-1](x)
        return self.network.layers[-1](h).squeeze(1) + (self.projection(h) * c).sum(1)
