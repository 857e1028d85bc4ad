"""`evaluate`: what is asked for reaches the library, and the answers reach terminal and file. (The measuring itself: tests/training.)"""

import json
import re

import pytest

from idgan.cli.measure import evaluate
from idgan.files import sha256_of
from idgan.metrics import code_alignment
from idgan.networks import ConvGeneratorConfig, ModelConfig, VAEConfig
from idgan.sampler import Sampler
from idgan.training.evaluation import METRICS, ON_REQUEST
from idgan.zoo.weights import write_checkpoint


@pytest.fixture
def quick(monkeypatch):
    """A metric of 64 images beside the known ones, which take more; it appends to the list that this gives."""
    measured = []

    def measure(subject):
        c, s = subject.sampler.codes(64, subject.seed)
        measured.append(subject.seed)
        return code_alignment(subject.sampler.encode(subject.sampler.sample(c, s)), c, live=subject.sampler.live, seed=subject.seed)

    monkeypatch.setitem(METRICS, "quick", measure)
    return measured


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


def test_the_same_command_again_shows_what_the_file_holds(run, quick):
    command = ("evaluate", "small.safetensors", "--metrics", "quick", "--out", "r.json")
    assert run(*command) == run(*command)
    assert quick == [0]
    run(*command, "--seed", "1")
    assert quick == [0, 1]


def test_prior_samples_and_extractor(run, directory, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(directory / "data"))
    options = ("--metrics", "r_id, fid,fid-decoder", "--prior", "posterior,normal", "--samples", "40", "--extractor", "dsprites-convnet")
    *rows, _ = run("evaluate", "small.safetensors", "--out", "r.json", *options).splitlines()
    names = ["r_id", "FD-dsprites-convnet", "FD-dsprites-convnet-decoder"]
    assert [row.split()[0] for row in rows] == [name + suffix for name in names for suffix in ("", "-normal")]
    assert all("n=40" in row for row in rows)
    assert all("dsprites-convnet v" in row and "40 real vs 40 generated" in row for row in rows[2:])


def test_help_names_every_metric(run):
    text = run("evaluate", "--help")
    starred = {name for name in METRICS if re.search(rf"(^|[ ,]){re.escape(name)}\*", text)}
    for name in METRICS:
        base = name.removesuffix("-decoder")
        assert base in text
        assert (base in starred) == (base in ON_REQUEST)
    assert {name for parameter in evaluate.params for name in parameter.opts} >= {"--metrics", "--prior", "--samples", "--extractor", "--out"}


def test_evaluate_refuses(fail, directory):
    assert "unknown metric 'fid5'" in fail("evaluate", "small.safetensors", "--metrics", "fid5")
    assert "priors=('uniform',)" in fail("evaluate", "small.safetensors", "--metrics", "r_id", "--prior", "uniform")
    assert "unknown extractor 'vgg'; known: dsprites-convnet" in fail("evaluate", "small.safetensors", "--metrics", "fid", "--extractor", "vgg")
    assert "x>=2" in fail("evaluate", "small.safetensors", "--samples", "1", code=2)
    (directory / "notes.json").write_text("precious")
    assert "holds no results" in fail("evaluate", "small.safetensors", "--out", "notes.json")
    assert (directory / "notes.json").read_text() == "precious"
    write_checkpoint("unknown.safetensors", Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3))))
    assert "unknown data set" in fail("evaluate", "unknown.safetensors")
