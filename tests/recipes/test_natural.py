"""Recipes of natural images, for two steps of both stages with two images and networks of base width 2."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import idgan
from idgan.data import DATASETS, Dataset
from idgan.networks import ModelConfig
from idgan.objectives import BottleneckIDGANConfig
from idgan.recipes import Adam, RMSprop, override, recipe_of
from idgan.training.distributed import process_group
from idgan.training.run import Run
from idgan.zoo.manifest import Manifest, package_manifest

NAMES = ("celeba-64", "celeba-128", "celeba-256", "celebahq-1024", "chairs-64", "cars-64")
TINY = {
    "generator.base_width": 2,
    "generator.max_width": 8,
    "discriminator.base_width": 2,
    "discriminator.max_width": 8,
    "vae_stage.batch_size": 2,
    "vae_stage.steps": 2,
    "gan_stage.batch_size": 2,
    "gan_stage.steps": 2,
    "bank_size": 4,
}


class Gradients(Dataset):
    """A data set of five pictures, color gradients, at any resolution."""

    image_channels = 3

    def __init__(self, resolution):
        self.resolution = resolution

    def __len__(self):
        return 5

    def images(self, indices, generator=None):
        ramp = torch.linspace(0, 1, self.resolution)
        planes = torch.stack([ramp[:, None] * ramp, ramp[None].expand(self.resolution, -1), 1 - ramp[:, None] * ramp])
        return planes * ((indices + 1) / 5)[:, None, None, None]


@pytest.fixture(params=NAMES)
def recipe(request):
    return recipe_of(request.param)


@pytest.fixture
def trained(recipe, tmp_path):
    """The recipe of a test, tiny, after two real steps of both stages."""
    source = Gradients(recipe.generator.resolution)
    with process_group("cpu") as group:
        run = Run(override(recipe, TINY), tmp_path / "run", source, group, progress=False)
        run.train_vae()
        run.train_gan()
        return run


def test_two_steps_of_both_stages(trained):
    for stage, phases in ("vae", {"vae"}), ("gan", {"discriminator", "generator"}):
        last = json.loads((trained.out / stage / "log.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 2
        assert phases < last.keys()
        assert all(abs(value) < 1e6 for value in last.values()), last
    assert {"r1", "r_id"} < last.keys()
    if isinstance(trained.recipe.gan_stage.objective, BottleneckIDGANConfig):
        assert last["bottleneck_beta"] != pytest.approx(0.1, abs=1e-9)
    images = trained.sampler(bank_size=2).sample(n=1, seed=0)
    assert images.shape == (1, 3, trained.recipe.generator.resolution, trained.recipe.generator.resolution)


# ------------------------------------------------------------------ the settings


def settings_of(recipe):
    """beta, id_weight, r1_weight, batch size of stage 2, resolution, base width."""
    gan, shape = recipe.gan_stage, recipe.generator
    return (
        recipe.vae_stage.objective.beta,
        gan.objective.id_weight,
        gan.objective.r1_weight,
        gan.batch_size,
        shape.resolution,
        shape.base_width,
    )


def test_what_differs_is_the_reference_s():
    assert {name: settings_of(recipe_of(name)) for name in NAMES} == {
        "celeba-64": (6.4, 1e-3, 10.0, 64, 64, 64),
        "celeba-128": (6.4, 1e-3, 10.0, 64, 128, 64),
        "celeba-256": (6.4, 1e-3, 10.0, 24, 256, 64),
        "celebahq-1024": (6.4, 1e-4, 10.0, 1, 1024, 16),
        "chairs-64": (10.0, 1e-4, 1000.0, 64, 64, 64),
        "cars-64": (5.0, 1e-3, 10.0, 64, 64, 64),
    }


def test_what_is_shared_is_the_reference_s(recipe):
    vae, gan = recipe.vae_stage, recipe.gan_stage
    assert (vae.steps, vae.batch_size, vae.objective.likelihood, vae.optimizers) == (
        1_000_000,
        64,
        "squared-error",
        {"vae": Adam(1e-4, 0.9, 0.999)},
    )
    assert not (vae.flip or vae.dequantize)
    assert (gan.steps, gan.ema_decay, gan.flip, gan.dequantize) == (300_000, 0.999, True, True)
    assert gan.optimizers == {"discriminator": RMSprop(1e-4, 0.99), "generator": RMSprop(1e-4, 0.99)}
    assert (gan.objective.r1_interval, vae.precision, gan.precision) == (1, "fp32", "fp32")


def test_the_small_faces_keep_what_defines_the_method():
    full, small = recipe_of("celeba-64"), recipe_of("celeba-64-w16")
    assert (small.data, small.vae, small.vae_stage.objective) == (full.data, full.vae, full.vae_stage.objective)
    assert (small.gan_stage.objective.id_weight, small.gan_stage.objective.r1_weight) == (1e-3, 10.0)
    assert (small.generator.base_width, small.discriminator.base_width) == (16, 16)
    assert (small.generator.s_dim, small.gan_stage.flip, small.gan_stage.dequantize, small.gan_stage.ema_decay) == (
        256,
        True,
        True,
        0.999,
    )
    assert Manifest.read(package_manifest())["celeba-64-w16"].model == ModelConfig(small.vae, small.generator).to_dict()


def test_networks_fit_together_and_are_those_of_the_manifest(recipe):
    model = ModelConfig(recipe.vae, recipe.generator)
    assert (model.c_dim, model.s_dim, model.image_channels) == (20, 256, 3)
    shared = ("resolution", "base_width", "max_width", "image_channels")
    assert [getattr(recipe.discriminator, name) for name in shared] == [
        getattr(recipe.generator, name) for name in shared
    ]
    assert Manifest.read(package_manifest())[recipe.name].model == model.to_dict()


def test_recipes_of_the_same_pictures_have_the_same_stage_1():
    first, *others = [recipe_of(name) for name in ("celeba-64", "celeba-128", "celeba-256", "celebahq-1024")]
    assert all((other.vae, other.vae_stage) == (first.vae, first.vae_stage) for other in others)


def test_each_is_on_the_data_set_of_its_name(recipe):
    assert recipe.data == recipe.name
    assert recipe.name in DATASETS


def test_a_recipe_is_no_other_one():
    recipes = [dataclasses.replace(recipe_of(name), name="", data="") for name in NAMES]
    assert all(one != other for i, one in enumerate(recipes) for other in recipes[:i])


# ------------------------------------------------------------------ without weights


def test_each_loads_with_random_weights_at_its_full_size(recipe):
    sampler = idgan.load(recipe.name, pretrained=False, device="cpu")
    assert (sampler.vae.config, sampler.generator.config) == (recipe.vae, recipe.generator)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the high-water mark of memory is read from /proc")
def test_an_image_of_1024x1024_takes_less_than_4_gb():
    """In a process of its own, which does nothing else."""
    job = """
import torch, idgan
torch.set_num_threads(1)
x = idgan.load("celebahq-1024", pretrained=False, device="cpu").sample(n=1, seed=0)
(peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(*x.shape, bool(x.isfinite().all()), peak)
"""
    *shape, finite, peak = subprocess.run(
        [sys.executable, "-c", job], capture_output=True, text=True, check=True
    ).stdout.split()
    assert shape == ["1", "3", "1024", "1024"]
    assert finite == "True"
    assert int(peak) < 4 * 2**20  # KiB
