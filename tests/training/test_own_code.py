"""Data, recipes and methods of a user's own, and what a run records about them."""

import dataclasses
import json

import pytest
import torch

from idgan.data import Dataset
from idgan.errors import InvalidInputError, RunMismatchError
from idgan.recipes import METHODS, RECIPES, describe, override, recipe_of
from idgan.training import train
from idgan.training.command import command_of, public_path
from idgan.zoo.weights import read_checkpoint

MODULE = '''
"""What a third package may register."""

import dataclasses

from idgan.recipes import Recipe, recipe_of, register_method, register_recipe


@register_recipe("stripes")
def stripes() -> Recipe:
    return dataclasses.replace(recipe_of("dsprites"), name="stripes", bank_size=16)


@register_method("long")
def long(recipe: Recipe) -> Recipe:
    return dataclasses.replace(recipe, gan_stage=dataclasses.replace(recipe.gan_stage, steps=77))


def unregistered() -> Recipe:
    return dataclasses.replace(stripes(), name="unregistered", bank_size=8)


plain = unregistered()
number = 7
'''


class Ramps(Dataset):
    """Horizontal ramps of gray, each darker than the last by a factor of `step`."""

    resolution = 64
    image_channels = 1

    def __init__(self, step=0.9):
        self.step = step

    def __len__(self):
        return 20

    def images(self, indices, rng=None):
        return torch.linspace(0, 1, 64).expand(len(indices), 1, 64, 64) * (self.step**indices)[:, None, None, None]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """The name of an importable module with the text `MODULE`. What it registers is forgotten after the test."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "own_stripes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(__import__("sys").modules, "own_stripes", raising=False)
    for registry in (RECIPES, METHODS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    return "own_stripes"


# ------------------------------------------------------------------ data


def test_a_data_set_object_is_trained_on_and_described(tmp_path, tiny):
    options = tiny(vae_stage__steps=1, gan_stage__steps=1)
    path = train("dsprites", tmp_path / "run", data=Ramps(), **options)
    info = read_checkpoint(path).info
    described = json.loads((tmp_path / "run" / "recipe.json").read_text())["data"]
    assert described.startswith("Ramps ") and len(described.split()[1]) == 16
    assert (info["data"], info["training"]["images"]) == (None, 20)
    assert info["training"]["command"] == (
        "No command repeats this training. It used code of the caller: a Ramps object as the data set."
    )


def test_a_recipe_may_hold_its_data_set(tmp_path, tiny):
    recipe = dataclasses.replace(recipe_of("dsprites"), name="ramps", data=Ramps())
    train(recipe, tmp_path / "run", stage="vae", **tiny(vae_stage__steps=1))
    train(recipe, tmp_path / "run", stage="vae", **tiny(vae_stage__steps=2))
    darker = dataclasses.replace(recipe, data=Ramps(0.5))
    with pytest.raises(RunMismatchError, match=r"data: 'Ramps [0-9a-f]{16}' stored, 'Ramps [0-9a-f]{16}' now"):
        train(darker, tmp_path / "run", stage="vae", **tiny(vae_stage__steps=2))


def test_what_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(InvalidInputError, match="list is not a data set: it has no resolution"):
        dataclasses.replace(recipe_of("dsprites"), data=[1, 2])
    with pytest.raises(InvalidInputError, match="dict is not a data set"):
        train("dsprites", tmp_path / "run", data={})
    recipe = dataclasses.replace(recipe_of("dsprites"), data=Ramps())
    with pytest.raises(InvalidInputError, match="recipe dsprites has a Ramps object, which needs no path"):
        train(recipe, tmp_path / "run", data="somewhere")
    assert not (tmp_path / "run").exists()


def test_images_that_the_networks_do_not_take_are_refused_before_training(tmp_path, tiny):
    class Other(Ramps):
        def __init__(self, channels, side):
            super().__init__()
            self.image_channels, self.resolution = channels, side

        def images(self, indices, rng=None):
            x = super().images(indices).expand(-1, self.image_channels, -1, -1)
            return x[:, :, : self.resolution, : self.resolution]

    out = tmp_path / "run"
    with pytest.raises(InvalidInputError, match="data set have 3 channels, and the vae of recipe dsprites is for 1"):
        train("dsprites", out, stage="vae", data=Other(3, 64), **tiny())
    with pytest.raises(InvalidInputError, match="have 3 channels, and the generator of recipe dsprites is for 1"):
        train("dsprites", out, data=Other(3, 64), **tiny(vae__image_channels=3))
    with pytest.raises(InvalidInputError, match="are 32x32, and the generator of recipe dsprites draws 64x64"):
        train("dsprites", out, data=Other(1, 32), **tiny())
    assert not out.exists()
    train("dsprites", out, stage="vae", data=Other(1, 32), **tiny(vae_stage__steps=1))  # stage 1 enlarges them


# ------------------------------------------------------------------ recipes and methods


def test_a_recipe_is_found_by_module_and_name(own_module):
    assert recipe_of(f"{own_module}:unregistered").bank_size == recipe_of(f"{own_module}:plain").bank_size == 8
    assert recipe_of("stripes").bank_size == 16  # the import has registered it
    with pytest.raises(InvalidInputError, match="must be a Recipe or a function without arguments .*, got int"):
        recipe_of(f"{own_module}:number")
    with pytest.raises(InvalidInputError, match="has no 'nothing'"):
        recipe_of(f"{own_module}:nothing")
    with pytest.raises(InvalidInputError, match="'no_such_module' cannot be imported"):
        recipe_of("no_such_module:faces")


def test_the_command_of_a_recipe_in_a_module_is_true(own_module, tmp_path, tiny):
    options = tiny(vae_stage__steps=1, gan_stage__steps=1)
    path = train(f"{own_module}:unregistered", tmp_path / "run", **options)
    training = read_checkpoint(path).info["training"]
    command, *changes = training["command"].split(" --set ")
    assert command == "idgan train own_stripes:unregistered --out runs/unregistered"
    made = override(recipe_of("own_stripes:unregistered"), dict(change.split("=") for change in changes))
    assert describe(made) == training["settings"]


def test_a_command_imports_the_modules_that_register_what_it_names(own_module):
    recipe_of(f"{own_module}:plain")
    recipe = override(recipe_of("stripes"), {"seed": 3})
    assert command_of(recipe) == "idgan --import own_stripes train stripes --out runs/stripes --set seed=3"
    longer = override(METHODS["long"](recipe_of("dsprites")), {"seed": 3})
    assert (
        command_of(longer)
        == "idgan --import own_stripes train dsprites --method long --out runs/dsprites-long --set seed=3"
    )


def test_a_recipe_that_no_command_can_name_is_said_to_be_own_code():
    recipe = dataclasses.replace(recipe_of("dsprites"), name="mine")
    assert command_of(recipe) == "No command repeats this training. It used code of the caller: the recipe 'mine'."


def test_private_paths_are_not_published():
    assert public_path("/home/someone/photos") == public_path("~/photos") == public_path("../photos") == "photos"
    assert [public_path(path) for path in ("runs/mine", "dsprites", "hf:org/name")] == [
        "runs/mine",
        "dsprites",
        "hf:org/name",
    ]
    recipe = override(recipe_of("dsprites"), {"init_vae_from": "/home/someone/my run"})
    command = command_of(recipe, vae="/home/someone/run", data="/home/someone/my photos")
    assert command == (
        "idgan train dsprites --out runs/dsprites --vae run --data 'my photos' --set 'init_vae_from=my run'"
    )
