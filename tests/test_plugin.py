"""A third package with one of everything is installed, trained, loaded, inverted, measured, exported and published."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import idgan
from idgan import registry

pytestmark = pytest.mark.slow
PLUGIN = Path(__file__).parent / "plugin"
STEPS = ["--steps", "3", "--batch-size", "4", "--set", "vae_stage.batch_size=4", "--threads", "1"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory of installed packages that holds the plug-in."""
    tmp = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PLUGIN, tmp / "source", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", tmp / "site", source], check=True)
    return tmp / "site"


@pytest.fixture(scope="module")
def python(site, tmp_path_factory):
    """`python(*arguments, plugin=True)` runs Python in one directory, with or without the plug-in installed."""
    cwd = tmp_path_factory.mktemp("work")

    def run(*arguments, plugin=True):
        paths = [str(Path(idgan.__file__).parents[1])] + ([str(site)] if plugin else [])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)

    run.cwd = cwd
    return run


@pytest.fixture(scope="module")
def cli(python):
    """`cli(*arguments)` runs a command of idgan with the plug-in, and returns what it printed."""

    def run(*arguments):
        done = python("-m", "idgan", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run.cwd = python.cwd
    return run


@pytest.fixture(scope="module")
def run(cli):
    """The run directory of the plug-in's recipe, trained for three steps of each stage."""
    cli("train", "blobs", "--out", "run", *STEPS, "--no-evaluate")
    return cli.cwd / "run"


def test_the_file_names_what_it_holds_and_the_package(run):
    with safe_open(run / "model.safetensors", "pt") as file:
        config = json.loads(file.metadata()["config"])
        assert file.get_tensor("vae.pool.2.num_batches_tracked").dtype == torch.int64
    assert config["vae"] == {
        "type": "BlobVAEConfig",
        "package": "idgan_blobs",
        "c_dim": 4,
        "image_channels": 1,
        "resolution": 64,
        "dropout": 0.1,
    }
    assert config["generator"]["type"] == "BlobGeneratorConfig"


def test_it_is_used_like_a_model_of_the_package(run, cli):
    cli("sample", "run", "--seeds", "0-3", "--out", "samples.png")
    cli("traverse", "run", "--dims", "0,1", "--out", "traversals.png")
    cli("sample", "run", "--seeds", "7", "--separate", "images")
    image = next((cli.cwd / "images").iterdir())
    cli("edit", "run", image, "--set", "1=+1.5", "--invert", "--out", "edit.png")
    cli("reconstruct", "run", image, "--out", "reconstruction.png")
    assert "ok" in cli("verify", "run")
    cli("export", "run", "--format", "torchscript", "--part", "encoder", "--out", "encoder.pt")
    assert {"samples.png", "traversals.png", "edit.png", "reconstruction.png", "encoder.pt"} <= set(os.listdir(cli.cwd))


@pytest.fixture(scope="module")
def measured(run, cli):
    """The run, measured by a metric and on features of the plug-in."""
    options = ["--samples", "40", "--extractor", "block-means"]
    cli("evaluate", "run", "--metrics", "brightness,fid,fid-decoder,alignment", *options)
    return run


def test_its_metric_and_its_features_measure(measured):
    results = json.loads((measured / "results.json").read_text())["metrics"]
    names = [result["name"] for result in results]
    assert names == ["brightness", "FD-block-means", "FD-block-means-decoder", "code_alignment"]
    assert 0 <= results[0]["value"] <= 1


def test_it_is_published(measured, cli):
    options = ["--description", "Discs", "--license", "MIT", "--data", "Blobs", "MIT"]
    assert "idgan_blobs" in cli("publish", "run", "--repo", "org/blobs", "--dry-run", *options)


def test_help_and_errors_list_it(cli, python):
    assert "brightness" in cli("evaluate", "--help")
    assert "block-means" in cli("evaluate", "--help")
    refused = python("-m", "idgan", "train", "blob", "--dry-run")
    assert refused.returncode == 1 and "did you mean 'blobs'" in refused.stderr


def test_the_recorded_command_can_be_typed(run, python):
    code = "import idgan; g = idgan.load('run'); print(g.record.command)"
    command = python("-c", code).stdout.strip()
    assert command.startswith("idgan --import idgan_blobs train blobs --out runs/blobs")
    words = command.split()[1:]
    words[words.index("--out") + 1] = "again"
    done = python("-m", "idgan", *words, "--no-evaluate")
    assert done.returncode == 0, done.stderr
    code = (
        "import idgan, torch; a, b = idgan.load('run'), idgan.load('again'); "
        "print(all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items()))"
    )
    assert python("-c", code).stdout.strip() == "True"


def test_without_the_package_the_error_says_what_to_import(run, python):
    refused = python("-m", "idgan", "sample", run, plugin=False)
    assert refused.returncode == 1
    assert "idgan_blobs" in refused.stderr and "--import" in refused.stderr and "Traceback" not in refused.stderr


def test_a_module_that_is_not_installed_is_imported_on_request(run, python):
    shutil.copy(PLUGIN / "idgan_blobs.py", python.cwd / "idgan_blobs.py")
    done = python(
        "-m", "idgan", "--import", "idgan_blobs", "sample", "run", "--seeds", "0", "--out", "x.png", plugin=False
    )
    assert done.returncode == 0, done.stderr
    done = python("-m", "idgan", "train", "idgan_blobs:blobs", "--out", "named", *STEPS, "--no-evaluate", plugin=False)
    assert done.returncode == 0, done.stderr
    data = ["--data", "idgan_blobs:Blobs", "--set", "vae_stage.select_every=0"]
    done = python(
        "-m", "idgan", "train", "dsprites", *data, "--stage", "vae", "--out", "own-data", *STEPS, plugin=False
    )
    assert done.returncode == 0, done.stderr


def test_a_plugin_that_ends_the_process_is_a_warning(tmp_path, monkeypatch):
    (tmp_path / "ending.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("ending", "ending", registry.PLUGIN_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    with pytest.warns(UserWarning, match="the plug-in ending .* cannot be imported: 3"):
        registry.load_plugins.__wrapped__()
