"""The encoder of the nuisance s, which the method reconstructing trains beside the generator."""

from dataclasses import dataclass

from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.networks.conv import RESOLUTION, conv_encoder
from idgan.networks.modules import MAX_CHANNELS, MAX_CODE_DIM, register_network
from idgan.networks.posterior import Posterior

__all__ = ["NuisanceEncoder", "NuisanceEncoderConfig"]


@register_network()
@dataclass(frozen=True)
class NuisanceEncoderConfig:
    """Config of the encoder q(s|x).

    Raises:
        InvalidInputError: a size is out of range.
    """

    s_dim: int
    image_channels: int = 1

    resolution = RESOLUTION

    def __post_init__(self) -> None:
        check_integer(1, MAX_CODE_DIM, s_dim=self.s_dim)
        check_integer(1, MAX_CHANNELS, image_channels=self.image_channels)

    def build(self) -> "NuisanceEncoder":
        """A `NuisanceEncoder` with random weights."""
        return NuisanceEncoder(self)


class NuisanceEncoder(nn.Sequential):
    """q(s|x): the layers of the VAE's encoder (Table A.2). The paper has no such network."""

    def __init__(self, config: NuisanceEncoderConfig) -> None:
        super().__init__(*conv_encoder(config.image_channels, outputs=2 * config.s_dim))
        self.config = config

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, C, 64, 64) in [0, 1] -> `Posterior` of s, (N, s_dim), in float32, also under autocast."""
        return Posterior(*self(x).float().chunk(2, dim=1))
