"""The features of dSprites and its variants: their training, and the accuracy of the network in the package."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn

from idgan.data import ColorDSprites, DSprites, NoisyDSprites
from idgan.errors import DataError
from idgan.evaluation.extractors import DSPRITES_CONVNET, read_feature_net
from idgan.networks.conv import conv_encoder

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
_spec = importlib.util.spec_from_file_location("train_feature_net", EXAMPLES / "train_feature_net.py")
feature_net = importlib.util.module_from_spec(_spec)
sys.modules["train_feature_net"] = feature_net  # dataclasses look their module up
_spec.loader.exec_module(feature_net)
HEADS, OUTPUTS, SYMMETRY, accuracy = feature_net.HEADS, feature_net.OUTPUTS, feature_net.SYMMETRY, feature_net.accuracy
train_feature_net, turned = feature_net.train_feature_net, feature_net.turned
with_batch_norm, without_batch_norm = feature_net.with_batch_norm, feature_net.without_batch_norm
with_unit_features = feature_net.with_unit_features

GRID = DSprites.factors


class Indices:
    """Images whose pixel is their index."""

    def images(self, indices, draws):
        return indices.double()[:, None, None, None]


def perfect(turns=0.0):
    """A network that reads `Indices`. Its angle is wrong by `turns` of a full turn."""

    def network(x):
        factors = GRID.factors(x[:, 0, 0, 0].long())
        heads = [nn.functional.one_hot(factors[:, i], GRID.sizes[i]).double() for i in range(5)]
        angle = 2 * math.pi * (factors[:, 2] / 39 + turns)
        heads[2] = torch.stack([f(k * angle) for k in SYMMETRY for f in (torch.cos, torch.sin)], dim=1).double()
        return torch.cat(heads, dim=1)

    return network


def test_accuracy_counts_orientation_up_to_symmetry():
    indices = torch.randint(len(GRID), (600,))
    square, ellipse, heart = (indices[GRID.factors(indices)[:, 0] == shape] for shape in range(3))

    def orientation(turns, some):
        measured = accuracy(perfect(turns), Indices(), some, None)
        assert [measured[name] for name in HEADS if name != "orientation"] == [1, 1, 1, 1]
        return measured["orientation"]

    assert orientation(0, indices) == 1
    assert [orientation(1 / 4, some) for some in (square, ellipse, heart)] == [1, 0, 0]
    assert [orientation(1 / 2, some) for some in (square, ellipse, heart)] == [1, 1, 0]
    assert orientation(0.49 / 39, indices) == 1
    assert orientation(0.51 / 39, indices) == 0


def test_symmetry_is_that_of_the_sprites():
    """Two orientations with equal targets have nearly equal images. Those with opposite targets do not."""
    for shape, turns in enumerate(SYMMETRY):
        orientation = torch.arange(40)
        _, target = turned(torch.zeros(40, 6), orientation, torch.full((40,), shape))
        factors = torch.tensor([[shape, 5, o, 16, 16] for o in orientation])
        images = DSprites().images(GRID.indices(factors)).flatten(1)
        same = target @ target.T
        different = torch.cdist(images, images).square()
        period = round(39 / turns)
        assert different[0, period] < 0.25 * different[0, period // 2]
        assert same[0, 39] == pytest.approx(1)
        assert same[0, period] > 0.9 > -0.9 > same[0, period // 2]


def test_folding_keeps_the_function():
    network = with_batch_norm(conv_encoder(3, OUTPUTS))
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(8, 3, 64, 64) + 1)
    x = torch.rand(4, 3, 64, 64)
    folded = without_batch_norm(network)
    torch.testing.assert_close(folded(x), network.eval()(x), rtol=1e-4, atol=1e-5)
    conv_encoder(3, OUTPUTS).load_state_dict(folded.state_dict())


def test_scaling_keeps_the_function():
    stack, x = conv_encoder(3, OUTPUTS), torch.rand(8, 3, 64, 64)
    with torch.no_grad():
        expected = stack(x)
        scaled = with_unit_features(stack, x)
        torch.testing.assert_close(scaled(x), expected, rtol=1e-4, atol=1e-5)
        assert scaled[:-1](x).square().mean() == pytest.approx(1, rel=1e-4)


@pytest.fixture
def painting(tmp_path, monkeypatch):
    """A random picture instead of the painting."""
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path))
    Image.fromarray(np.random.default_rng(0).integers(256, size=(400, 320, 3), dtype=np.uint8)).save(
        tmp_path / "the_scream.jpg"
    )


def test_training_is_a_function_of_its_arguments_however_often_interrupted(painting, tmp_path):
    options = {"batch_size": 4, "points": 8, "threads": 1, "progress": False}
    once = train_feature_net(tmp_path / "once", steps=4, **options)
    train_feature_net(tmp_path / "twice", steps=2, **options)
    twice = train_feature_net(tmp_path / "twice", steps=4, **options)
    other = train_feature_net(tmp_path / "other", steps=4, seed=1, **options)
    a, b, c = (read_feature_net(path) for path in (once, twice, other))
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(a(x), b(x)) and not torch.allclose(a(x), c(x))
    assert a.details["accuracy"] == b.details["accuracy"]
    assert a.details["training"]["steps"] == 4
    assert a.details["accuracy"].keys() == {"dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites"}


def test_without_the_painting_it_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(tmp_path))
    with pytest.raises(DataError, match="idgan prepare scream"):
        train_feature_net(tmp_path / "out")
    assert not Path(tmp_path / "out").exists()


def test_the_network_in_the_package_has_the_accuracy_in_its_file():
    assert DSPRITES_CONVNET.stat().st_size < 2.5e6
    with safe_open(DSPRITES_CONVNET, "pt") as file:
        info = json.loads(file.metadata()["info"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    assert f"{info['name']}-v{info['version']}" == DSPRITES_CONVNET.stem
    network = conv_encoder(3, OUTPUTS)
    network.load_state_dict(tensors)
    draws = torch.Generator().manual_seed(5)
    indices = torch.randint(len(GRID), (500,), generator=draws)
    for name, source in {
        "dsprites": DSprites(),
        "color-dsprites": ColorDSprites(),
        "noisy-dsprites": NoisyDSprites(),
    }.items():
        for factor, value in accuracy(network, source, indices, draws).items():
            stated = info["accuracy"][name][factor]
            assert abs(value - stated) < 5 * math.sqrt(max(stated * (1 - stated), 0.01) / 500), (name, factor)
