"""Tiny real runs, and a tiny real data set, for the tests of training."""

import dataclasses
import hashlib
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from idgan.data import Dataset, FactorGrid
from idgan.images import to_signed
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.recipes import recipe_of
from idgan.sampler import Sampler
from idgan.training import train

TINY = {
    "vae_stage.steps": 12,
    "vae_stage.batch_size": 4,
    "vae_stage.select_every": 0,
    "gan_stage.steps": 12,
    "gan_stage.batch_size": 4,
    "gan_stage.objective.r1_interval": 3,
    "gan_stage.ema_decay": 0.9,
    "bank_size": 16,
}
OPTIONS = {"device": "cpu", "threads": 1, "progress": False, "measure": False}


@pytest.fixture(scope="session")
def tiny():
    """`tiny(**more)`: keyword arguments of `train` for a run of seconds; `more` settings are named with __ for dots."""

    def arguments(**more):
        return {"settings": TINY | {name.replace("__", "."): value for name, value in more.items()}, **OPTIONS}

    return arguments


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """The directory of a tiny run of both stages with a selected encoder. Copy it before changing it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    train("dsprites", out, **tiny(vae_stage__select_every=8))
    return out


@pytest.fixture(scope="session")
def same_run():
    """`same_run(a, b)`: assert that two run directories hold the same logs and the same bits in every tensor."""

    def check(a, b):
        for name in ("vae/log.jsonl", "gan/log.jsonl"):
            assert (a / name).read_text() == (b / name).read_text(), name
        for name in ("vae/state.safetensors", "gan/state.safetensors", "model.safetensors"):
            ours, theirs = load_file(a / name), load_file(b / name)
            assert ours.keys() == theirs.keys()
            different = [key for key in ours if not torch.equal(ours[key], theirs[key])]
            assert not different, (name, different)

    return check


@pytest.fixture(scope="session")
def fingerprint():
    """`fingerprint(directory)`: every file in it -> hash and modification time."""

    def of(directory):
        files = [path for path in directory.rglob("*") if path.is_file()]
        return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}

    return of


@pytest.fixture(scope="session")
def log_of():
    """`log_of(directory)`: the records of its log.jsonl."""
    return lambda directory: [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


class Bands(Dataset):
    """60 gray images of three bands, one for each factor. Value v of n is the intensity (v + 1/2) / n."""

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


@pytest.fixture
def bands_recipe(bands):
    """A recipe on `Bands`."""
    return dataclasses.replace(recipe_of("dsprites"), name="bands", data=bands)


LOGVAR = -6.0


class BandEncoder(nn.Module):
    """Reads the intensity of each band exactly: c = 4 (intensity - 1/2). It decodes with half the contrast."""

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
    """A sampler of `Bands`. By construction, encoder and generator are perfect, and the decoder is not."""
    vae = BandEncoder()
    bank = vae.encode(bands.images(torch.arange(len(bands))))
    return Sampler(ModelConfig(VAEConfig(c_dim=3), ConvGeneratorConfig(c_dim=3)), vae, BandPainter(), bank)
