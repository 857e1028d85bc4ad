"""Small heads that read codes rather than images."""

from itertools import pairwise

from torch import nn

__all__ = ["TCDiscriminator"]


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
