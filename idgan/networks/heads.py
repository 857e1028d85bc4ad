"""Small heads that read codes or features rather than images."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

__all__ = ["LogitHead", "LogitHeadConfig", "TCDiscriminator"]


class TCDiscriminator(nn.Module):
    """FactorVAE's critic of codes: tells draws of q(c) from draws of the product of its marginals (table A.2)."""

    def __init__(self, c_dim, width=1000):
        super().__init__()
        widths = (c_dim, *[width] * 6)
        layers = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 2))

    def forward(self, c):
        """Codes (N, c_dim) -> logits (N, 2) in float32: column 0 for "drawn from q(c)", column 1 for "drawn from the product"."""
        return self.layers(c).float()


@dataclass(frozen=True)
class LogitHeadConfig:
    """Shape of `LogitHead`: how many `features` it reads. The encoder of table A.2 has 256."""

    features: int = 256

    def build(self):
        """A `LogitHead` with random weights."""
        return LogitHead(self)


class LogitHead(nn.Module):
    """The last layer of a discriminator whose other layers are somebody else's: of InfoGAN's, the encoder's (table A.3 on the stack of A.2)."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.logit = nn.Linear(config.features, 1)

    def forward(self, features):
        """Features (N, features) -> logits (N,); positive means real."""
        return self.logit(features).squeeze(1)
