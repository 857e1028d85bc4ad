"""`idgan plot` on the files of a run."""

import json

import pytest
from click.testing import CliRunner
from PIL import Image

from idgan.cli import main

pytest.importorskip("matplotlib")


def run_directory(path):
    (path / "vae").mkdir(parents=True)
    lines = [json.dumps({"step": i, "kl": float(i)}) for i in range(3)] + ['{"step": 3, "k']  # the last was cut short
    (path / "vae" / "log.jsonl").write_text("\n".join(lines))
    details = {"mutual_information": [[0.5, 0.0], [0.1, 0.2]], "entropy": [1.0, 0.7], "gaps": {"x": 0.4, "y": 0.3}}
    (path / "results.json").write_text(
        json.dumps({"metrics": [{"name": "mig", "value": 0.35, "details": details}, {"name": "fvm", "value": 0.5}]})
    )
    return path


def test_plots_of_a_run_are_written_beside_it(tmp_path):
    run = run_directory(tmp_path / "run")
    result = CliRunner().invoke(main, ["plot", str(run)])
    assert result.exit_code == 0, result.output
    written = result.output.split()
    assert written == [str(run / "curves-vae.png"), str(run / "information.png")]
    assert all(Image.open(path).width > 100 for path in written)


def test_plots_can_go_elsewhere(tmp_path):
    run = run_directory(tmp_path / "run")
    assert CliRunner().invoke(main, ["plot", str(run), "--out", str(tmp_path / "plots")]).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["curves-vae.png", "information.png"]
    assert not list(run.glob("*.png"))


def test_a_directory_that_is_no_run_is_said_to_be_none(tmp_path):
    result = CliRunner().invoke(main, ["plot", str(tmp_path)])
    assert result.exit_code == 1
    assert "nothing to plot" in result.output


@pytest.mark.parametrize(
    "content", ["", '{"metrics": [', "[]", '{"metrics": 3}', '{"metrics": [{"name": "mig", "value": 0.3}]}', "\xff"]
)
def test_damaged_results_are_named(tmp_path, content):
    run = run_directory(tmp_path / "run")
    (run / "results.json").write_bytes(content.encode("latin-1"))
    result = CliRunner().invoke(main, ["plot", str(run)])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "results.json is damaged" in result.output and "idgan evaluate" in result.output
    assert not list(run.glob("*.png"))
