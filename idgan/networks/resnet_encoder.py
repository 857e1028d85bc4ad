"""The encoder on the trunk of a ResNet discriminator: InfoGAN's Q on natural images."""

from dataclasses import dataclass

from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.images import to_signed
from idgan.networks.modules import MAX_CODE_DIM, register_network
from idgan.networks.posterior import Posterior
from idgan.networks.resnet import MIN_SIDE, ResNetShape, logit_layers, res_blocks_down

__all__ = ["ResNetEncoder", "ResNetEncoderConfig"]


@register_network()
@dataclass(frozen=True, kw_only=True)
class ResNetEncoderConfig(ResNetShape):
    """Config of `ResNetEncoder`. The encoder sees images at their full `resolution`.

    Raises:
        InvalidInputError: a size is out of range.
    """

    c_dim: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer(1, MAX_CODE_DIM, c_dim=self.c_dim)

    @property
    def features(self) -> int:
        """Width of the features before the last layer."""
        return self.widths[-1] * MIN_SIDE**2

    def build(self) -> "ResNetEncoder":
        """A `ResNetEncoder` with random weights."""
        return ResNetEncoder(self)


class ResNetEncoder(nn.Module):
    """q(c|x) with the layers of `ResNetDiscriminator`, except the last (Tables A.4 to A.6). It has no decoder.

    A `LogitHead` on its `features` makes it that discriminator.
    """

    def __init__(self, config: ResNetEncoderConfig) -> None:
        super().__init__()
        self.config = config
        *before, _ = logit_layers(config.widths[-1])
        trunk = res_blocks_down(config.image_channels, config.widths)
        self.encoder = nn.Sequential(*trunk, *before, nn.Linear(config.features, 2 * config.c_dim))

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, C, H, H) in [0, 1] -> `Posterior` in float32, also under autocast."""
        mean, logvar = self.encoder(to_signed(x)).float().chunk(2, dim=1)
        return Posterior(mean, logvar)

    def features(self, x: Tensor) -> Tensor:
        """Last hidden layer for images (N, C, H, H) in [0, 1], (N, `config.features`)."""
        return self.encoder[:-1](to_signed(x))
