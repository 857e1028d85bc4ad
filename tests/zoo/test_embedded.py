"""The checkpoints inside the package and beside it: whole, and doing what they are there for."""

from pathlib import Path

import pytest
import torch

import idgan
from idgan.data import DSprites
from idgan.files import sha256_of
from idgan.zoo import verify

EMBEDDED = [
    name for name in idgan.list_models(pretrained=True) if {"embedded", "beside"} & idgan.info(name)["weights"].keys()
]


def place_of(name):
    """What loads the checkpoint in a checkout, also if idgan is installed from a wheel, which lacks some files."""
    weights = idgan.info(name)["weights"]
    return name if "embedded" in weights else Path(__file__).resolve().parents[2] / "weights" / weights["file"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_it_holds_its_hash_and_its_goldens(name):
    report = verify(place_of(name))
    assert report["ok"] and sha256_of(report["path"]) == idgan.info(name)["weights"]["sha256"]


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_manifest_states_what_is_in_the_file(name):
    entry, sampler = idgan.info(name), idgan.load(place_of(name), device="cpu")
    assert entry["active_dims"] == sampler.active_dims
    assert entry["dim_kl"] == pytest.approx(sampler.dim_kl, abs=6e-4)
    assert entry["parameters"] == {
        part: sum(p.numel() for p in getattr(sampler, part).parameters()) for part in sampler.config.parts
    }


@pytest.fixture(scope="module")
def dsprites():
    return idgan.load("dsprites", device="cpu")


def center_and_area(x):
    """Center of mass (N, 2) as (x, y) in px, and mass (N,) in px, of images (N, 1, 64, 64)."""
    mass = x.sum((1, 2, 3))
    places = torch.arange(64.0)
    return torch.stack([(x.sum((1, 2)) @ places) / mass, (x.sum((1, 3)) @ places) / mass], dim=1), mass


def test_the_generator_follows_the_code_as_the_decoder_does(dsprites):
    c, s = dsprites.codes(64, seed=5)
    generated, decoded = dsprites.sample(c, s), dsprites.decode(c)
    center, area = center_and_area(generated)
    decoded_center, decoded_area = center_and_area(decoded)
    assert (center - decoded_center).norm(dim=1).median() < 2
    assert torch.corrcoef(torch.stack([area, decoded_area]))[0, 1] > 0.9


def test_the_generator_is_sharper_than_the_decoder(dsprites):
    c, s = dsprites.codes(64, seed=5)

    def gray(x):
        return ((x > 0.1) & (x < 0.9)).float().mean()

    assert gray(dsprites.sample(c, s)) < 0.25 * gray(dsprites.decode(c))


def test_named_dimensions_change_what_their_names_say(dsprites):
    def spread(name):
        """How far the sprite moves in x and y, and how much its area grows."""
        (row,) = dsprites.traverse(seed=1, dims=[name], span=(-1.5, 1.5), steps=5)
        center, area = center_and_area(row)
        return [*(center[-1] - center[0]).abs().tolist(), (area.max() / area.min()).item()]

    assert list(dsprites.dims) == ["position_x", "position_y", "scale", "shape"]
    x, y, size = map(spread, ("position_x", "position_y", "scale"))
    assert x[0] > 10 > 3 * x[1]
    assert y[1] > 10 > 3 * y[0]
    assert size[2] > 2
    assert max(size[:2]) < 5


def test_three_lines_encode_a_sprite_edit_its_code_and_render_it(dsprites):
    sprites = DSprites().images(torch.tensor([300_000, 600_000]))
    where, _ = center_and_area(dsprites.reconstruct(sprites))
    truth, _ = center_and_area(sprites)
    assert (where - truth).norm(dim=1).max() < 4
    edited, _ = center_and_area(dsprites.edit(sprites, {dsprites.active_dims[0]: -2.0}))
    assert (edited - where).norm(dim=1).min() > 10
