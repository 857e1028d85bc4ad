"""`train` and `evaluate`: what is asked for reaches the library. (The training itself: tests/training.)"""

import json
from pathlib import Path

import pytest

from idgan.files import sha256_of
from idgan.metrics import code_alignment
from idgan.networks import ConvGeneratorConfig, ModelConfig, VAEConfig
from idgan.recipes import RECIPES, describe
from idgan.sampler import Sampler
from idgan.training.evaluation import METRICS
from idgan.zoo.weights import write_checkpoint


def shown(output):
    return dict(line.split("=", 1) for line in output.splitlines())


@pytest.mark.parametrize("recipe", sorted(RECIPES))
def test_show_prints_the_recipe(run, recipe, directory):
    assert shown(run("train", recipe, "--show")) == {path: str(value) for path, value in describe(RECIPES[recipe]()).items()}
    assert not (directory / "runs" / recipe).exists()


def test_options_override_the_recipe(run):
    settings = ["--set", "gan_stage.objective.id_weight = 1e-4", "--set", "vae_stage.precision=fp32", "--seed", "7", "--batch-size", "16"]
    before, after = shown(run("train", "dsprites", "--show")), shown(run("train", "dsprites", "--show", *settings, "--steps", "5"))
    changed = {path: value for path, value in after.items() if value != before[path]}
    expected = {"gan_stage.objective.id_weight": "0.0001", "vae_stage.precision": "fp32", "seed": "7"}
    expected |= {f"{stage}_stage.{name}": value for stage in ("vae", "gan") for name, value in (("batch_size", "16"), ("steps", "5"))}
    assert changed == {path: value for path, value in expected.items() if value != before[path]}


def test_steps_are_those_of_the_stage(run):
    before, after = shown(run("train", "dsprites", "--show")), shown(run("train", "dsprites", "--show", "--stage", "gan", "--steps", "5"))
    assert {path: value for path, value in after.items() if value != before[path]} == {"gan_stage.steps": "5"}


def test_train_refuses(fail):
    assert "'steps' is not PATH=VALUE" in fail("train", "dsprites", "--set", "steps", code=2)
    assert "no setting 'gan.steps'" in fail("train", "dsprites", "--show", "--set", "gan.steps=5")
    assert "vae_stage.steps must be of type int" in fail("train", "dsprites", "--show", "--set", "vae_stage.steps=many")
    assert "no recipe is called 'dsprits'" in fail("train", "dsprits", "--show")
    assert "no recipe is called 'dsprits'" in fail("train", "dsprits")
    assert "is not in the range x>=1" in fail("train", "dsprites", "--steps", "0", code=2)
    assert not Path("runs/dsprites").exists()


def test_a_directory_that_is_no_run_is_left_alone(fail, directory):
    (directory / "notes").mkdir()
    (directory / "notes/thesis.txt").write_text("precious")
    assert "neither empty nor a run" in fail("train", "dsprites", "--out", "notes")
    assert [path.name for path in (directory / "notes").iterdir()] == ["thesis.txt"]


@pytest.fixture
def quick(monkeypatch):
    """A metric of 64 images beside the known ones, which take 10,000 or more."""

    def measure(subject):
        c, s = subject.sampler.codes(64, subject.seed)
        return code_alignment(subject.sampler.encode(subject.sampler.sample(c, s)), c, live=subject.sampler.live, seed=subject.seed)

    monkeypatch.setitem(METRICS, "quick", measure)


def test_evaluate_prints_a_table_and_writes_json(run, directory, quick):
    lines = run("evaluate", "runs/small", "--metrics", "quick", "--seed", "3").splitlines()
    assert "code_alignment" in lines[0]
    assert lines[-1] == "runs/small/results.json: the same as JSON"
    results = json.loads((directory / "runs/small/results.json").read_text())
    assert results["name"] == "small"
    assert results["sha256"] == sha256_of("small.safetensors")
    (metric,) = results["metrics"]
    assert (metric["name"], metric["samples"], metric["seed"]) == ("code_alignment", 64, 3)
    run("evaluate", "small.safetensors", "--metrics", "quick", "--seed", "3")
    assert json.loads((directory / "small-results.json").read_text())["metrics"] == [metric]


def test_evaluate_refuses(fail):
    assert "unknown metric 'fid5'" in fail("evaluate", "small.safetensors", "--metrics", "fid5")
    write_checkpoint("unknown.safetensors", Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3))))
    assert "unknown data set" in fail("evaluate", "unknown.safetensors")
