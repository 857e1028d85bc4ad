"""A pair that is perfect by construction scores what perfection scores."""

import json
import math

import pytest
import torch
from torch import nn

from idgan.data import FactorGrid
from idgan.errors import InvalidInputError
from idgan.images import to_signed, to_unit
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.training.evaluation import METRICS, ON_REQUEST, GridCodes, coarsened, evaluate, mean_codes

LOGVAR = -6.0


class BandEncoder(nn.Module):
    """Reads the intensity of each band of `Bands` exactly: c = 4 (intensity - 1/2)."""

    config = VAEConfig(c_dim=3)

    def encode(self, x):
        mean = 4 * (x[:, 0, (10, 32, 54), 0] - 0.5)
        return Posterior(mean, torch.full_like(mean, LOGVAR))


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
    vae = BandEncoder()
    bank = vae.encode(bands.images(torch.arange(len(bands))))
    return Sampler(ModelConfig(VAEConfig(c_dim=3), ConvGeneratorConfig(c_dim=3)), vae, BandPainter(), bank)


def test_a_perfect_pair_scores_as_such(perfect, bands):
    results = dict(zip([name for name in METRICS if name not in ON_REQUEST], evaluate(perfect, bands, seed=3, progress=False)))
    assert results["fvm"].value == results["fvm-dlib"].value == 1
    assert results["mig"].value == pytest.approx(1, abs=0.01)
    assert results["alignment"].value == pytest.approx(0, abs=1e-5)
    # c is read back without error: log q(c|G(s, c)) is the density of a Gaussian at its mean, and the bank's 60 posteriors do not touch.
    assert results["r_id"].value == pytest.approx(math.log(60) + 3 / 2, abs=0.05)


def test_results_say_how_they_were_measured(perfect, bands):
    results = evaluate(perfect, bands, ["mig", "fvm"], seed=3, progress=False)
    assert [result.name for result in results] == ["mig", "fvm"]
    for result in results:
        described = json.loads(json.dumps(result.to_dict()))
        assert described["seed"] == 3
        assert described["samples"] > 0
        assert described["protocol"]
        assert described["versions"]["torch"] == torch.__version__


def test_without_factors_the_metrics_of_the_generator_remain(perfect, bands):
    class Plain(type(bands)):
        factors = None

    names = [result.name for result in evaluate(perfect, Plain(), progress=False)]
    assert names == ["code_alignment", "r_id"]
    with pytest.raises(InvalidInputError, match="mig needs ground-truth factors"):
        evaluate(perfect, Plain(), ["r_id", "mig"], progress=False)


def test_an_unknown_metric_lists_the_known(perfect, bands):
    with pytest.raises(InvalidInputError, match=r"unknown metric 'mug'; known: fvm, fvm-dlib, mig"):
        evaluate(perfect, bands, ["mug"])


def test_grid_codes_are_the_encoders_means(perfect, bands):
    codes = GridCodes(perfect.vae, bands, "cpu", progress=False)
    indices = torch.tensor([59, 0, 7, 7])
    assert torch.allclose(codes(indices), perfect.vae.encode(bands.images(indices)).mean)
    assert torch.equal(codes.table, mean_codes(perfect.vae, bands, torch.arange(60), "cpu"))


def test_mean_codes_of_a_random_data_set_are_a_function_of_the_indices(perfect, bands):
    class Noisy(type(bands)):
        stochastic = True

        def images(self, indices, generator=None):
            return (super().images(indices) + 0.1 * torch.rand(len(indices), 1, 64, 64, generator=generator)).clamp(0, 1)

    a, b = (mean_codes(perfect.vae, Noisy(), torch.arange(60), "cpu") for _ in range(2))
    assert torch.equal(a, b)
    assert not torch.equal(a, mean_codes(perfect.vae, bands, torch.arange(60), "cpu"))


def test_a_coarse_grid_keeps_the_ends_and_its_points_are_where_it_says():
    grid = FactorGrid((3, 20, 1), ("a", "b", "c"))
    coarse, indices = coarsened(grid, most=4)
    assert (coarse.sizes, coarse.names) == ((3, 4, 1), grid.names)
    factors = grid.factors(indices)
    assert len(indices) == len(coarse) == len(indices.unique())
    assert factors[:, 0].unique().tolist() == [0, 1, 2]
    assert factors[:, 1].unique().tolist() == [0, 6, 13, 19]
    positions = coarse.factors(torch.arange(len(coarse)))
    assert torch.equal(positions[:, 0], factors[:, 0])
    assert torch.equal(torch.tensor([0, 6, 13, 19])[positions[:, 1]], factors[:, 1])


def test_the_painter_and_the_encoder_are_inverse(perfect, bands):
    x = bands.images(torch.arange(60))
    assert torch.allclose(to_unit(perfect.generator(perfect.vae.encode(x).mean)), x)
