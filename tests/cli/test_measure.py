"""`evaluate`: options reach the library, and results reach terminal and file. (Metrics: tests/evaluation.)"""

import json
import re

import pytest
from click.testing import CliRunner

from idgan.cli import main
from idgan.cli.measure import evaluate
from idgan.evaluation import METRICS, register_metric
from idgan.files import sha256_of
from idgan.metrics import code_alignment
from idgan.networks import ConvGeneratorConfig, ModelConfig, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.weights import read_checkpoint, write_checkpoint


@pytest.fixture
def add_metric(monkeypatch):
    """`add_metric(name, compute)`: registers a metric for the duration of a test."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS))
    return lambda name, compute: register_metric(name)(compute)


@pytest.fixture
def run(directory):
    """`run("evaluate", ...)`: stdout of a command that succeeds."""

    def run(*arguments):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    return run


@pytest.fixture
def fail(directory):
    """`fail("evaluate", ...)`: the last line on stderr of a command that fails."""

    def fail(*arguments, code=1):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result.stderr.splitlines()[-1]

    return fail


@pytest.fixture
def quick(add_metric):
    """Registers "quick", a metric of 64 images. Returns a list that gets the seed of each measurement."""
    measured = []

    def measure(subject):
        c, s = subject.sampler.codes(64, subject.seed)
        measured.append(subject.seed)
        return code_alignment(
            subject.sampler.encode(subject.sampler.sample(c, s)), c, active=subject.sampler.active, seed=subject.seed
        )

    add_metric("quick", measure)
    return measured


def test_evaluate_prints_a_table_and_writes_json(run, directory, quick):
    lines = run("evaluate", "runs/small", "--metrics", "quick", "--seed", "3").splitlines()
    assert lines[0].split() == ["metric", "value", "samples", "seed", "protocol"]
    assert "code_alignment" in lines[1]
    assert lines[-1] == "wrote runs/small/results.json"
    results = json.loads((directory / "runs/small/results.json").read_text())
    assert results["name"] == "small"
    assert results["sha256"] == sha256_of("small.safetensors")
    (metric,) = results["metrics"]
    assert (metric["name"], metric["samples"], metric["seed"]) == ("code_alignment", 64, 3)
    run("evaluate", "small.safetensors", "--metrics", "quick", "--seed", "3")
    assert json.loads((directory / "small-results.json").read_text())["metrics"] == [metric]


def test_results_of_a_zoo_model_are_not_written_into_a_directory_of_its_name(run, directory, quick):
    (directory / "runs/small").rename(directory / "dsprites")
    assert run("evaluate", "dsprites", "--metrics", "quick").endswith("wrote dsprites-results.json\n")
    assert [path.name for path in (directory / "dsprites").iterdir()] == ["model.safetensors"]
    assert run("evaluate", "./dsprites", "--metrics", "quick").endswith("wrote dsprites/results.json\n")


def test_the_same_command_again_shows_what_the_file_holds(run, quick):
    command = ("evaluate", "small.safetensors", "--metrics", "quick", "--out", "r.json")
    assert run(*command) == run(*command)
    assert quick == [0]
    run(*command, "--seed", "1")
    assert quick == [0, 1]


def test_prior_samples_and_extractor(run, directory, monkeypatch):
    monkeypatch.setenv("IDGAN_DATA", str(directory / "data"))
    options = (
        "--metrics",
        "r_id, fid,fid-decoder",
        "--prior",
        "aggregated,normal",
        "--samples",
        "40",
        "--extractor",
        "dsprites-convnet",
    )
    heading, *rows, _ = run("evaluate", "small.safetensors", "--out", "r.json", *options).splitlines()
    names = ["r_id", "FD-dsprites-convnet", "FD-dsprites-convnet-decoder"]
    assert [row.split()[0] for row in rows] == [name + suffix for name in names for suffix in ("", "-normal")]
    # Columns begin where their headings do, however long the names.
    for number, (column, width) in enumerate((("samples", 2), ("seed", 1))):
        start = heading.index(column)
        assert {row[start : start + width] for row in rows} == {("40", "0")[number]} and {
            row[start - 1] for row in rows
        } == {" "}
    assert all("±" in row[heading.index("value") : heading.index("samples")] for row in rows)
    assert all("dsprites-convnet v" in row and "40 real vs 40 generated" in row for row in rows[2:])


def test_results_of_another_file_of_the_name_are_not_lost(run, directory, quick):
    for place in "a", "b":
        (directory / place).mkdir()
        sampler = read_checkpoint("small.safetensors")
        sampler.info["place"] = place
        write_checkpoint(directory / place / "model.safetensors", sampler)
    run("evaluate", "a/model.safetensors", "--metrics", "quick")
    first = (directory / "model-results.json").read_bytes()
    result = CliRunner().invoke(main, ["evaluate", "b/model.safetensors", "--metrics", "quick"])
    assert result.exit_code == 0
    assert "Warning: model-results.json held the results of another" in result.stderr
    assert "now in model-results.1.json" in result.stderr
    assert (directory / "model-results.1.json").read_bytes() == first != (directory / "model-results.json").read_bytes()


def test_a_metric_that_is_there_twice_is_measured_once(run, quick):
    assert len(run("evaluate", "small.safetensors", "--metrics", "quick,quick").splitlines()) == 3
    assert quick == [0]


def test_what_was_measured_before_an_interruption_is_shown(quick, directory, add_metric):
    def interrupted(subject):
        raise KeyboardInterrupt

    add_metric("broken", interrupted)
    result = CliRunner().invoke(main, ["evaluate", "small.safetensors", "--metrics", "quick,broken"])
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["metric", "code_alignment"]
    assert result.stderr.splitlines()[-1] == "Error: interrupted"


@pytest.fixture
def faces(directory, monkeypatch):
    """faces.safetensors, of a data set that is not here."""
    monkeypatch.setenv("IDGAN_DATA", str(directory / "none"))
    info = {"name": "faces", "data": "celeba-64", "training": {"seed": 7}}
    config = ModelConfig(VAEConfig(3, 3), ConvGeneratorConfig(3, 2, 3))
    return write_checkpoint("faces.safetensors", Sampler(config, info=info))


def test_data_is_opened_only_for_metrics_that_read_it(run, fail, faces):
    lines = run("evaluate", "faces.safetensors", "--samples", "20", "--metrics", "r_id").splitlines()
    assert [line.split()[0] for line in lines] == ["metric", "r_id", "wrote"]
    result = CliRunner().invoke(main, ["evaluate", "faces.safetensors", "--samples", "20"])
    lines = result.stdout.splitlines()
    assert "Warning: only metrics that need no data set are measured: " in result.stderr
    assert "idgan prepare celeba" in result.stderr
    assert [line.split()[0] for line in lines] == ["metric", "code_alignment", "r_id", "wrote"]
    assert "idgan prepare celeba" in fail("evaluate", "faces.safetensors", "--metrics", "r_id,fid")
    assert "nowhere" in fail("evaluate", "faces.safetensors", "--data", "nowhere")


def test_a_checkpoint_that_names_no_data_is_measured_without(run, fail, faces):
    sampler = read_checkpoint(faces)
    write_checkpoint(
        "converted.safetensors", Sampler(sampler.config, info={"name": "converted", "data": None, "training": {}})
    )
    lines = run("evaluate", "converted.safetensors", "--samples", "20").splitlines()
    assert [line.split()[0] for line in lines] == ["metric", "code_alignment", "r_id", "wrote"]
    assert "does not name the data set" in fail("evaluate", "converted.safetensors", "--metrics", "fid")


def test_help_names_every_metric(run):
    text = run("evaluate", "--help")
    for name, metric in METRICS.items():
        star = "" if metric.default else r"\*"
        plus = r"\+" if metric.extra else ""
        assert re.search(rf"^  {re.escape(name)}{star}{plus} +\S", text, re.MULTILINE), name
    for name in "inception-v3[:FILE]", "torchvision:NAME", "dsprites-convnet", "efficientnet-lite0":
        assert re.search(rf"^  {re.escape(name)} +\S", text, re.MULTILINE), name
    assert {name for parameter in evaluate.params for name in parameter.opts} >= {
        "--metrics",
        "--prior",
        "--samples",
        "--extractor",
        "--out",
    }


def test_evaluate_refuses(fail, directory):
    assert "no metric is called 'fid5'; did you mean 'fid'?" in fail(
        "evaluate", "small.safetensors", "--metrics", "fid5"
    )
    assert "priors must be one or more of aggregated, normal" in fail(
        "evaluate", "small.safetensors", "--metrics", "r_id", "--prior", "uniform"
    )
    assert "no feature extractor is called 'vgg'; known: dsprites-convnet" in fail(
        "evaluate", "small.safetensors", "--metrics", "fid", "--extractor", "vgg"
    )
    assert "x>=2" in fail("evaluate", "small.safetensors", "--samples", "1", code=2)
    (directory / "notes.json").write_text("precious")
    assert "holds no results" in fail("evaluate", "small.safetensors", "--out", "notes.json")
    assert (directory / "notes.json").read_text() == "precious"
    write_checkpoint(
        "unknown.safetensors",
        Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3)), info={"name": "x", "data": "sprites"}),
    )
    assert "'sprites'" in fail("evaluate", "unknown.safetensors")


def test_an_output_that_cannot_be_written_is_refused_before_the_work(fail, directory, quick):
    (directory / "file").write_text("x")
    assert "cannot write to file/r.json" in fail(
        "evaluate", "small.safetensors", "--metrics", "quick", "--out", "file/r.json", code=2
    )
    assert "is a directory" in fail("evaluate", "small.safetensors", "--out", "runs", code=2)
    assert quick == []
