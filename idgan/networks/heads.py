"""Small discriminators that read codes or features."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from idgan.errors import check_integer
from idgan.networks.modules import register_network

__all__ = ["LogitHead", "LogitHeadConfig", "TCDiscriminator"]

MAX_FEATURES = 65_536


class TCDiscriminator(nn.Module):
    """The discriminator of FactorVAE (Table A.2), with `depth` hidden layers.

    It separates codes drawn from q(c) from codes drawn from the product of its marginals.
    """

    def __init__(self, c_dim: int, width: int = 1000, depth: int = 6) -> None:
        super().__init__()
        widths = (c_dim, *[width] * depth)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, c: Tensor) -> Tensor:
        """Codes (N, c_dim) -> logits (N, 2) in float32. Column 0 means "from q(c)", column 1 "from the product"."""
        return self.layers(c).float()


@register_network()
@dataclass(frozen=True)
class LogitHeadConfig:
    """Config of `LogitHead`. `features` is the width of its input, 256 for the encoder of Table A.2.

    Raises:
        InvalidInputError: `features` is out of range.
    """

    features: int = 256

    def __post_init__(self) -> None:
        check_integer(1, MAX_FEATURES, features=self.features)

    def build(self) -> "LogitHead":
        """A `LogitHead` with random weights."""
        return LogitHead(self)


class LogitHead(nn.Module):
    """The last layer of a discriminator that shares its other layers with another network.

    InfoGAN puts it on the encoder (Table A.3).
    """

    def __init__(self, config: LogitHeadConfig) -> None:
        super().__init__()
        self.config = config
        self.logit = nn.Linear(config.features, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, features) -> logits (N,). A positive logit means "real"."""
        return self.logit(features).squeeze(1)
