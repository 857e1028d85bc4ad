"""A data set with factors that can be read exactly, and a sampler that is perfect on it."""

import pytest
import torch
from torch import nn

from idgan.data import Dataset, FactorGrid
from idgan.images import to_signed
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler

LOGVAR = -6.0


class Bands(Dataset):
    """60 gray images in three bands, one for each factor: value v of n is the intensity (v + 1/2) / n of the band."""

    resolution = 64
    image_channels = 1
    factors = FactorGrid((3, 4, 5), ("top", "middle", "bottom"))

    def __len__(self):
        return len(self.factors)

    def images(self, indices, rng=None):
        intensity = (self.factors.factors(indices) + 0.5) / torch.tensor(self.factors.sizes)
        rows = torch.arange(64) * 3 // 64
        return intensity[:, rows][:, None, :, None].expand(-1, 1, 64, 64).contiguous()


@pytest.fixture
def bands():
    return Bands()


class BandEncoder(nn.Module):
    """Reads the intensity of each band of `Bands` exactly, c = 4 (intensity - 1/2). Decodes with half the contrast."""

    config = VAEConfig(c_dim=3)

    def encode(self, x):
        mean = 4 * (x[:, 0, (10, 32, 54), 0] - 0.5)
        return Posterior(mean, torch.full_like(mean, LOGVAR))

    def decode(self, c):
        return 0.5 + 0.125 * c[:, torch.arange(64) * 3 // 64][:, None, :, None].expand(-1, 1, 64, 64)


class BandPainter(nn.Module):
    """Paints bands of the intensities that `BandEncoder` reads as c."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.25))

    def forward(self, code):
        intensity = self.gain * code + 0.5
        return to_signed(intensity[:, torch.arange(64) * 3 // 64][:, None, :, None].expand(-1, 1, 64, 64))


@pytest.fixture
def perfect(bands):
    """A sampler of `Bands` that is perfect by construction, except for its decoder."""
    vae = BandEncoder()
    bank = vae.encode(bands.images(torch.arange(len(bands))))
    return Sampler(ModelConfig(VAEConfig(c_dim=3), ConvGeneratorConfig(c_dim=3)), vae, BandPainter(), bank)
