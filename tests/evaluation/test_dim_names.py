"""A dimension is named after the factor that it tells most about."""

import pytest
import torch
from torch import nn

from idgan.data import Dataset, FactorGrid
from idgan.evaluation.dim_names import factor_names
from idgan.networks import Posterior, VAEConfig


class Written(Dataset):
    """64x64 images whose first pixels are the factors, each divided by its size."""

    resolution, image_channels = 64, 1

    def __init__(self, names=("shape", "size", "hue")):
        self.factors = FactorGrid((3, 6, 32), names)

    def __len__(self):
        return len(self.factors)

    def images(self, indices, rng=None):
        x = torch.zeros(len(indices), 1, 64, 64)
        x[:, 0, 0, :3] = self.factors.factors(indices) / torch.tensor(self.factors.sizes)
        return x


class Reader(nn.Module):
    """An encoder whose code is `mix` (D, 3) times the factors, plus noise of deviation `noise` (D,)."""

    config = VAEConfig()

    def __init__(self, mix, noise=0.0):
        super().__init__()
        self.mix, self.noise = torch.tensor(mix), noise

    def encode(self, x):
        rng = torch.Generator().manual_seed(0)
        mean = x[:, 0, 0, :3] @ self.mix.T
        return Posterior(mean + self.noise * torch.randn(mean.shape, generator=rng), torch.zeros_like(mean))


def test_each_dimension_gets_its_factor():
    reader = Reader([[0.0, 0, 1], [0.0, 0, 0], [1.0, 0, 0.02], [0.0, -1, 0]])
    assert factor_names(reader, Written(), [0, 2, 3]) == {"hue": 0, "shape": 2, "size": 3}


def test_a_second_dimension_of_a_factor_is_numbered_and_the_clearer_one_comes_first():
    reader = Reader([[0.0, 1, 0], [0.0, 1, 0]], noise=torch.tensor([0.3, 0.0]))
    assert factor_names(reader, Written(), [0, 1]) == {"size": 1, "size_2": 0}


def test_what_tells_nothing_has_no_name():
    assert factor_names(Reader([[0.0, 0, 0], [1.0, 0, 0]], noise=torch.tensor([1.0, 0.0])), Written(), [0, 1]) == {
        "shape": 1
    }


@pytest.mark.parametrize(("factor", "name"), [("wall hue", "wall_hue"), ("c3", "factor_c3"), ("%", "factor")])
def test_a_factors_name_becomes_one_of_a_dimension(factor, name):
    assert factor_names(Reader([[1.0, 0, 0]]), Written((factor, "b", "d")), [0]) == {name: 0}


def test_a_data_set_without_factors_gives_no_names(monkeypatch):
    dataset = Written()
    dataset.factors = None
    assert factor_names(Reader([[1.0, 0, 0]]), dataset, [0]) == {}
