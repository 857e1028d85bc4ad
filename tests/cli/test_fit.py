"""`train`: what is asked for reaches the library. (The training itself: tests/training.)"""

import re
import sys
from pathlib import Path

import pytest

from idgan.recipes import METHODS, RECIPES, apply_method, describe, override
from idgan.recipes.recipe import PRECISIONS


def shown(run, *options):
    """The settings that a dry run of dSprites prints, at a batch size that takes little time."""
    output = run("train", "dsprites", "--dry-run", "--batch-size", "2", *options)
    return dict(line.split("=", 1) for line in output.partition("\n\n")[0].splitlines())


def test_a_dry_run_prints_what_it_would_take_and_writes_nothing(run, directory):
    before = sorted(directory.rglob("*"))
    output = run("train", "dsprites", "--dry-run", "--batch-size", "2", "--threads", "1")
    assert sorted(directory.rglob("*")) == before
    settings, _, estimate = output.partition("\n\n")
    recipe = override(RECIPES["dsprites"](), {"vae_stage.batch_size": 2, "gan_stage.batch_size": 2})
    assert settings.splitlines() == [f"{path}={value}" for path, value in describe(recipe).items()]
    assert re.match(
        r"parameters  vae [\d,]+, tc_discriminator 134,914, generator [\d,]+, discriminator [\d,]+\n", estimate
    )
    for stage, steps in ("vae", "9,000"), ("gan", "12,000"):
        cost = rf"{stage} stage   {steps} steps at batch size 2, each [\d.]+ GFLOP, in [\d.]+ GiB of tensors .*"
        assert re.search(cost + r"\n +[\d.]+ s a step here: [\d.]+ (minutes|hours) in all", estimate)


def test_a_dry_run_without_the_data_says_so(run, fail, directory, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(directory / "nowhere"))
    options = ["--batch-size", "2", "--set", "generator.base_width=8", "--set", "discriminator.base_width=8"]
    output = run("train", "celeba-64-w16", "--dry-run", "--stage", "gan", *options)
    assert "random ones instead of celeba-64: " in output and "idgan prepare celeba" in output
    assert "vae stage" not in output
    assert "nowhere" in fail("train", "celeba-64-w16", "--dry-run", "--data", str(directory / "nowhere"))


OWN_DATA = """
import torch

from idgan.data import Dataset


class Ramps(Dataset):
    resolution = 64
    image_channels = 1

    def __len__(self):
        return 20

    def images(self, indices, rng=None):
        return torch.linspace(0, 1, 64).expand(len(indices), 1, 64, 64) * (0.9**indices)[:, None, None, None]
"""


@pytest.mark.parametrize("stage", ["vae", "gan"])
def test_a_dry_run_takes_a_data_set_of_your_own(run, directory, monkeypatch, stage):
    (directory / "own_ramps.py").write_text(OWN_DATA)
    monkeypatch.syspath_prepend(directory)
    monkeypatch.delitem(sys.modules, "own_ramps", raising=False)
    options = ["--dry-run", "--batch-size", "2", "--stage", stage]
    output = run("train", "dsprites", "--data", "own_ramps:Ramps", *options)
    assert re.search(r"^data=Ramps [0-9a-f]{16}$", output, re.MULTILINE)
    assert "s a step here: " in output and "random ones" not in output


def test_a_dry_run_says_first_that_training_takes_months(run, directory, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(directory / "nowhere"))
    small = ["--batch-size", "2", "--set", "generator.base_width=2", "--set", "discriminator.base_width=2"]
    output = run("train", "celeba-64", "--dry-run", "--stage", "gan", "--steps", "1000000000", *small)
    first, blank, second, *_ = output.splitlines()
    advice = r"Use a (GPU|faster one), or train a small recipe \(celeba-64-w16 or dsprites\)\."
    assert re.fullmatch(r"celeba-64 takes [\d.,]+ (days|years) on this (cpu|cuda)\. " + advice, first)
    assert blank == "" and second.startswith("type=")


def test_options_override_the_recipe(run):
    settings = [
        "--set",
        "gan_stage.objective.id_weight = 1e-4",
        "--set",
        "vae_stage.precision=tf32",
        "--seed",
        "7",
        "--batch-size",
        "4",
    ]
    before, after = shown(run), shown(run, *settings, "--steps", "5")
    changed = {path: value for path, value in after.items() if value != before[path]}
    expected = {"gan_stage.objective.id_weight": "0.0001", "vae_stage.precision": "tf32", "seed": "7"}
    expected |= {
        f"{stage}_stage.{name}": value
        for stage in ("vae", "gan")
        for name, value in (("batch_size", "4"), ("steps", "5"))
    }
    assert changed == {path: value for path, value in expected.items() if value != before[path]}


def test_steps_are_those_of_the_stage(run):
    settings = shown(run, "--stage", "gan", "--steps", "5")
    assert (settings["vae_stage.steps"], settings["gan_stage.steps"], settings["gan_stage.batch_size"]) == (
        "9000",
        "5",
        "2",
    )


def test_a_method_has_the_steps_of_its_own_stage(run):
    settings = shown(run, "--method", "gan", "--steps", "5")
    expected = override(apply_method(RECIPES["dsprites"](), "gan"), {"gan_stage.steps": 5, "gan_stage.batch_size": 2})
    assert settings == {path: str(value) for path, value in describe(expected).items()}
    assert (settings["vae_stage"], settings["gan_stage.steps"]) == ("None", "5")


def test_help_names_every_method(run):
    words = set(re.findall(r"[a-z][a-z-]+", run("train", "--help")))
    assert set(METHODS) <= words


def test_a_method_is_trained_into_a_directory_of_its_own(run, directory):
    steps = ["--steps", "1", "--batch-size", "2", "--set", "bank_size=4", "--set", "vae_stage.select_every=0"]
    output = run("train", "dsprites", "--method", "vae", "--no-evaluate", "--device", "cpu", *steps)
    assert "runs/dsprites-vae/model.safetensors: done" in output
    assert not (directory / "runs/dsprites").exists()


def test_train_refuses(fail):
    assert "'steps' is not PATH=VALUE" in fail("train", "dsprites", "--set", "steps", code=2)
    assert "no setting 'gan.steps'" in fail("train", "dsprites", "--dry-run", "--set", "gan.steps=5")
    assert "vae_stage.steps must be of type int" in fail(
        "train", "dsprites", "--dry-run", "--set", "vae_stage.steps=many"
    )
    assert "no recipe is called 'dsprits'" in fail("train", "dsprits", "--dry-run")
    assert "no recipe is called 'dsprits'" in fail("train", "dsprits")
    assert "no method is called 'vgan'; did you mean 'gan'? known: id-gan, " in fail(
        "train", "dsprites", "--method", "vgan"
    )
    assert "is not in the range x>=1" in fail("train", "dsprites", "--steps", "0", code=2)
    for dry in ([], ["--dry-run"]):
        refused = fail("train", "dsprites", "--seed", "99999999999999999999", *dry, code=2)
        assert "is not in the range 0<=x<=18446744073709551615" in refused
    for dry in ([], ["--dry-run", "--steps", "5"]):
        assert "no stage 'gan'; its only stage is 'vae'" in fail(
            "train", "dsprites", "--method", "vae", "--stage", "gan", *dry
        )
        assert "stage 'vae' has nothing left to train" in fail(
            "train", "dsprites", "--stage", "vae", "--vae", "dsprites", *dry
        )
    assert not Path("runs/dsprites").exists()


def test_a_directory_that_is_no_run_is_left_alone(fail, directory):
    (directory / "notes").mkdir()
    (directory / "notes/thesis.txt").write_text("precious")
    assert "neither empty nor a run" in fail("train", "dsprites", "--out", "notes")
    assert [path.name for path in (directory / "notes").iterdir()] == ["thesis.txt"]


def test_the_examples_of_help_are_settings_of_their_recipes(run):
    """Lazy R1 and the precisions among them."""
    text = run("train", "--help")
    examples = re.findall(r"idgan train (\S+)(.*)", text)
    assert len(examples) > 5
    for name, options in examples:
        override(RECIPES[name](), dict(setting.split("=") for setting in re.findall(r"--set (\S+=\S+)", options)))
    assert "gan_stage.objective.r1_interval=16" in text
    assert set(PRECISIONS) <= set(re.findall(r"\w+", text))
