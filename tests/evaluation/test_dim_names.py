"""A dimension is named after the factor or the attribute that it tells most about."""

import zipfile

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from idgan.data import Dataset, FactorGrid
from idgan.dims import as_names
from idgan.errors import InvalidInputError
from idgan.evaluation.dim_names import auc_table, factor_names, name_dims
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


@pytest.mark.parametrize(
    ("factor", "name"),
    [("wall hue", "wall_hue"), ("c3", "factor_c3"), ("%", "factor"), ("1" * 36, "factor_" + "1" * 29)],
)
def test_a_factors_name_becomes_one_of_a_dimension(factor, name):
    assert factor_names(Reader([[1.0, 0, 0]]), Written((factor, "b", "d")), [0]) == as_names({name: 0}, 1)


def test_a_data_set_without_factors_gives_no_names(monkeypatch):
    dataset = Written()
    dataset.factors = None
    assert factor_names(Reader([[1.0, 0, 0]]), dataset, [0]) == {}


# ------------------------------------------------------------------ attributes


def drawn(n=2000, seed=0):
    """Codes of three dimensions, and four attributes: by dimension 2, against 0, weakly by 0, and by nothing."""
    rng = torch.Generator().manual_seed(seed)
    codes = torch.randn(n, 3, generator=rng)
    noise = torch.randn(n, 4, generator=rng)
    signal = torch.stack([2 * codes[:, 2], -2 * codes[:, 0], 0.9 * codes[:, 0], torch.zeros(n)], dim=1)
    return codes, signal + noise > 0


def test_the_auc_is_that_of_scikit_learn():
    codes, attributes = drawn(300)
    codes[:, 1] = codes[:, 1].round()  # ties
    table = auc_table(codes, attributes)
    for dim in range(3):
        for column in range(4):
            expected = roc_auc_score(attributes[:, column], codes[:, dim])
            assert table[dim, column] == pytest.approx(expected, abs=1e-12)
    assert (auc_table(codes, torch.ones(300, 2, dtype=torch.bool)) == 0.5).all()


def test_each_dimension_gets_the_attribute_that_it_tells_best():
    codes, attributes = drawn()
    names = ["Smiling", "Male", "Young", "Noise"]
    found = name_dims(codes, attributes, names)
    assert found == {"smiling": 2, "not_male": 0}  # dimension 0 has its name when it comes to "Young"
    assert list(name_dims(-codes, attributes, names)) in (["not_smiling", "male"], ["male", "not_smiling"])
    assert name_dims(codes, attributes, names, min_auc=0.99) == {}


def test_rare_attributes_name_nothing():
    codes, attributes = drawn()
    rare = torch.zeros(2000, 1, dtype=torch.bool)
    rare[codes[:, 1].topk(49).indices] = True
    assert "rare" not in name_dims(codes, torch.cat([attributes, rare], dim=1), ["a", "b", "c", "d", "Rare"])
    rare[codes[:, 1].topk(50).indices] = True
    assert name_dims(codes, torch.cat([attributes, rare], dim=1), ["a", "b", "c", "d", "Rare"])["rare"] == 1


def test_bad_input_is_named():
    codes, attributes = drawn(10)
    with pytest.raises(InvalidInputError, match="expected one name for each of 4 attributes, got 1"):
        name_dims(codes, attributes, ["a"])
    with pytest.raises(
        InvalidInputError, match=r"attributes of type bool \(N, A\), got \(10, 3\) and \(10, 4\) of type"
    ):
        auc_table(codes, attributes.float())
    with pytest.raises(InvalidInputError, match="codes has values that are not finite"):
        auc_table(codes / 0, attributes)
    for min_auc in (0.5, 1 + 1e-10, float("nan"), "0.7"):
        with pytest.raises(InvalidInputError, match="min_auc must be more than 0.5 and at most 1, got"):
            name_dims(codes, attributes, list("abcd"), min_auc=min_auc)
    name_dims(codes, attributes, list("abcd"), min_auc=1)


@pytest.mark.slow
def test_the_dimensions_of_faces_get_names(shared):
    """1,500 of the images that the VAE did not see."""
    import idgan
    from idgan.data import CELEBA
    from idgan.data.image_folder import cut
    from idgan.images import as_rgb

    path = shared("data/celeba178/celeba.zip")
    g = idgan.load("celeba-64-w16")
    with zipfile.ZipFile(path) as archive:
        lines = archive.read("list_attr_celeba.txt").decode().splitlines()
        rows = {line.split()[0]: [int(value) > 0 for value in line.split()[1:]] for line in lines[2:] if line.strip()}
        files = [name for name in archive.namelist() if name.endswith(".jpg") and int(name[-10:-4]) > 9000][::4][:1500]
        squares = [cut(as_rgb(archive.read(name)), CELEBA.crop, 64)[0] for name in files]
    codes = torch.cat([g.encode(squares[first : first + 100]) for first in range(0, len(squares), 100)])
    attributes = torch.tensor([rows[name.rpartition("/")[2]] for name in files])
    found = name_dims(codes, attributes, lines[1].split(), min_auc=0.7)
    assert found["not_wearing_hat"] == 14 and found["bangs"] == 2
    assert set(found.values()) <= set(g.active_dims)
