"""`list`, `info`, `verify`."""

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
from click.testing import CliRunner
from safetensors import safe_open

import idgan
from idgan import zoo
from idgan.cli import main
from idgan.evaluation.results import write_results
from idgan.files import sha256_of
from idgan.metrics import MetricResult


def test_list_has_a_line_a_model(run):
    lines = run("list").splitlines()
    assert [line.split()[0] for line in lines] == zoo.list_models()
    assert all(zoo.info(line.split()[0])["description"] in line for line in lines)


def test_list_of_a_pattern(run):
    lines = run("list", "celeba*", "--status", "recipe").splitlines()
    assert [line.split()[0] for line in lines] == zoo.list_models("celeba*", status="recipe")
    assert run("list", "nothing*") == ""


@pytest.mark.parametrize("status", ["released", "recipe"])
def test_list_as_json(run, status):
    entries = json.loads(run("list", "--status", status, "--json"))
    assert list(entries) == zoo.list_models(status=status)
    assert all(entries[name] == json.loads(json.dumps(zoo.info(name))) for name in entries)


def test_list_as_markdown_has_sizes_and_metrics(run, directory, monkeypatch):
    entry = {
        "status": "recipe",
        "description": "A test",
        "license": "Apache-2.0",
        "data": {"name": "Sprites", "license": "CC0-1.0"},
    }
    entry |= {"resolution": 64, "image_channels": 3, "c_dim": 3, "s_dim": 2}
    results = [
        ("fvm", 0.111, "disentanglement_lib: ..."),
        ("fvm", 0.876, "paper: ..."),
        ("mig", 0.345, "disentanglement_lib: ..."),
        ("FD-x-normal", 7.0, "generator, x"),
        ("FD-x-decoder", 123.4, "decoder, x"),
        ("FD-x", 5.678, "generator, x"),
    ]
    entry["metrics"] = [
        dict(zip(("name", "value", "protocol"), result), samples=1, seed=0, versions={}) for result in results
    ]
    models = {"measured": entry, "unmeasured": entry | {"metrics": []}}
    (directory / "more.json").write_text(json.dumps({"schema": 1, "models": models}))
    monkeypatch.setenv("IDGAN_MANIFEST", str(directory / "more.json"))
    lines = run("list", "--markdown").splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert len(lines) == 2 + len(zoo.list_models())
    row = "| A test | 64x64, color | none yet |"
    assert f"| `measured` {row} 0.88, 0.34 | 5.68, 123 | Sprites (CC0-1.0) |" in lines
    assert f"| `unmeasured` {row}  |  | Sprites (CC0-1.0) |" in lines
    size = Path(idgan.__file__).parent.joinpath("weights/dsprites.safetensors").stat().st_size
    assert re.match(rf"\| `\S+` .*\| {size / 1e6:.1f} MB \|", next(line for line in lines if "`dsprites`" in line))
    released = [f"| `{name}` |" for name in zoo.list_models(status="released")]
    assert all(any(line.startswith(start) for start in released) for line in lines[2 : 2 + len(released)])


def test_info_of_a_file(run):
    entry = json.loads(run("info", "small.safetensors", "--json"))
    assert {name: entry[name] for name in ("resolution", "image_channels", "c_dim", "s_dim")} == {
        "resolution": 64,
        "image_channels": 1,
        "c_dim": 3,
        "s_dim": 2,
    }
    assert entry["active_dims"] == [2, 0]
    assert entry["training"] == {"seed": 7}
    assert entry["dim_kl"][1] == 0
    output = run("info", "small.safetensors")
    assert output.startswith("name: small.safetensors\n")
    assert "active_dims: [2, 0]\n" in output


def test_info_of_a_run_has_what_it_measured(run, directory):
    assert json.loads(run("info", "runs/small", "--json"))["metrics"] == []
    path = directory / "runs/small/model.safetensors"
    write_results(
        path.with_name("results.json"), "small", sha256_of(path), [MetricResult("mig", 0.25, "of a test", 100, 0)]
    )
    assert [
        (metric["name"], metric["value"]) for metric in json.loads(run("info", "runs/small", "--json"))["metrics"]
    ] == [("mig", 0.25)]
    assert "of a test" in run("info", "runs/small")


@pytest.mark.parametrize("name", ["dsprites", "celeba-64"])
def test_info_of_a_name_is_its_entry_and_more(run, name):
    entry = json.loads(run("info", name, "--json"))
    assert json.loads(json.dumps(zoo.info(name))).items() <= entry.items()
    assert run("info", name).startswith(f"name: {name}\n")


def test_info_of_a_saved_model_has_what_its_config_says(run, directory):
    zoo.load("dsprites").save_pretrained("saved")
    entry = json.loads(run("info", "saved", "--json"))
    known = zoo.info("dsprites")
    for name in ("license", "data", "metrics", "training", "active_dims"):
        assert entry[name] == known[name]


def test_info_of_a_saved_model_has_what_was_measured_since(run, directory):
    zoo.load("small.safetensors").save_pretrained("saved")
    path = directory / "saved/model.safetensors"
    results = path.with_name("results.json")
    write_results(results, "small", sha256_of(path), [MetricResult("mig", 0.25, "of a test", 100, 0)])
    assert [metric["value"] for metric in json.loads(run("info", "saved", "--json"))["metrics"]] == [0.25]
    for content in {"sha256": "0" * 64, "metrics": []}, {"sha256": sha256_of(path), "metrics": [{}]}:
        results.write_text(json.dumps(content))
        assert json.loads(run("info", "saved", "--json"))["metrics"] == []
        assert "active_dims" in run("info", "saved")


def test_info_of_an_entry_without_facts_reads_its_file(run, directory, monkeypatch):
    """As older manifests have them."""
    entry = {**zoo.info("dsprites")}
    del entry["active_dims"], entry["dim_kl"], entry["parameters"]
    (directory / "more.json").write_text(json.dumps({"schema": 1, "models": {"older": entry}}))
    monkeypatch.setenv("IDGAN_MANIFEST", str(directory / "more.json"))
    (directory / "older").mkdir()
    (directory / "older/results.json").write_text("{")  # a directory of that name is another model
    assert json.loads(run("info", "older", "--json"))["active_dims"] == zoo.info("dsprites")["active_dims"]


def test_info_escapes_what_a_file_says(run, directory):
    """A file may hold what a terminal obeys, or what cannot be printed."""
    path = directory / "small.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    info = {"name": "small", "training": {"hardware": "\x1b[2J", "command": "\ud800\nname: other"}}
    safetensors.torch.save_file(safetensors.torch.load(path.read_bytes()), path, {**metadata, "info": json.dumps(info)})
    output = run("info", "small.safetensors")
    assert "hardware: \\x1b[2J\n" in output
    assert "command: \\ud800\\nname: other\n" in output


def test_info_reads_the_file_once(run, directory, monkeypatch):
    opened = []

    def count(path, mode):
        opened.append(path)
        return open(path, mode)

    monkeypatch.setattr("idgan.zoo.weights.open", count, raising=False)
    run("info", "runs/small")
    assert opened == [Path("runs/small/model.safetensors")]


def test_info_refuses(fail):
    assert "no checkpoint is called 'nothing'" in fail("info", "nothing")


def test_verify(run):
    result = json.loads(run("verify", "runs/small", "--json"))
    assert result["ok"] is True
    assert set(result["differences"]) == {"images", "decoded", "mean"}
    assert run("verify", "runs/small").startswith("small: ok (runs/small/model.safetensors)\n")


def test_verify_fails_with_1(directory):
    with safe_open("small.safetensors", framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load((directory / "small.safetensors").read_bytes())
    tensors["vae.encoder.0.weight"] *= 2
    safetensors.torch.save_file(tensors, "other.safetensors", metadata)
    result = CliRunner().invoke(main, ["verify", "other.safetensors"])
    assert result.exit_code == 1
    assert result.output.startswith("other: FAILED (other.safetensors)\n")


def test_info_shows_results_in_columns_with_their_confidence(run):
    measured = zoo.info("dsprites")["metrics"]
    *_, heading = (line for line in run("info", "dsprites").splitlines() if line.split()[:2] == ["metric", "value"])
    rows = run("info", "dsprites").partition(heading + "\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == [metric["name"] for metric in measured]
    for row, metric in zip(rows, measured):
        assert row[heading.index("value") :].startswith(f"{metric['value']:.4f}")
        assert ("±" in row[: heading.index("samples")]) == (metric["confidence"] is not None)
        assert row[heading.index("samples") :].startswith(f"{metric['samples']:,} ")
        assert row[heading.index("protocol") :] == metric["protocol"]
