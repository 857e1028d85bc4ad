"""A discriminator of images with their codes, for the conditional GAN (Miyato & Koyama 2018)."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from idgan.errors import InvalidInputError, check_integer
from idgan.networks.conv import ConvDiscriminatorConfig
from idgan.networks.modules import MAX_CODE_DIM, register_network
from idgan.networks.resnet import ResNetDiscriminatorConfig

__all__ = ["ProjectionDiscriminator", "ProjectionDiscriminatorConfig"]


@register_network()
@dataclass(frozen=True)
class ProjectionDiscriminatorConfig:
    """Config of a projection discriminator.

    Attributes:
        network: config of the discriminator of images. Its `layers` must end in a linear layer.
        c_dim: number of dimensions of the codes.

    Raises:
        InvalidInputError: `c_dim` is out of range.
    """

    network: ConvDiscriminatorConfig | ResNetDiscriminatorConfig = field(default_factory=ConvDiscriminatorConfig)
    c_dim: int = 10

    def __post_init__(self) -> None:
        check_integer(1, MAX_CODE_DIM, c_dim=self.c_dim)

    @property
    def image_channels(self) -> int:
        return self.network.image_channels

    @property
    def resolution(self) -> int:
        return self.network.resolution

    def build(self) -> "ProjectionDiscriminator":
        """A `ProjectionDiscriminator` with random weights."""
        return ProjectionDiscriminator(self)


class ProjectionDiscriminator(nn.Module):
    """D(x, c) = f(h) + <c, V h> (Miyato & Koyama 2018).

    h are the last features of a discriminator of images, and f is its last layer. V is a linear layer without bias.

    Raises:
        InvalidInputError: the discriminator of images does not end in a linear layer.
    """

    def __init__(self, config: ProjectionDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.network = config.network.build()
        layers = getattr(self.network, "layers", None)
        last = layers[-1] if isinstance(layers, nn.Sequential) else None
        if not isinstance(last, nn.Linear):
            raise InvalidInputError(
                f"a projection discriminator needs a network with layers, an nn.Sequential that ends in nn.Linear; "
                f"{type(self.network).__name__} has none"
            )
        self.projection = nn.Linear(last.in_features, config.c_dim, bias=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Images (N, C, H, H) in [-1, 1] and codes (N, c_dim) -> logits (N,).

        A positive logit means a real image with its own code.
        """
        h = self.network.layers[:-1](x)
        return self.network.layers[-1](h).squeeze(1) + (self.projection(h) * c).sum(1)
