"""What holds across the whole project: one name everywhere, imports that point down, a README that says what is so."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from idgan.cli import main
from idgan.evaluation.extractors import DSPRITES_CONVNET
from idgan.recipes import RECIPES
from idgan.zoo import list_models

CHECKOUT = Path(__file__).resolve().parents[1]


def test_recipes_manifest_and_hub_entries_have_the_same_names(monkeypatch):
    monkeypatch.syspath_prepend(str(CHECKOUT))
    import hubconf

    entries = sorted(name for name, value in vars(hubconf).items() if callable(value) and not name.startswith("_"))
    assert sorted(RECIPES) == sorted(list_models())
    assert entries == sorted(name.replace("-", "_") for name in RECIPES)
    assert all(RECIPES[name]().name == name for name in RECIPES)


def test_imports_point_down():
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("ruff") is None, reason="ruff is not installed")
def test_ruff_finds_nothing():
    done = subprocess.run(["ruff", "check", "--no-cache", "."], cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_readme_table_is_the_manifest():
    table = CliRunner().invoke(main, ["list", "--markdown"]).output
    shown = re.search(
        r"<!-- idgan list --markdown -->\n(.*?)<!-- end -->", (CHECKOUT / "README.md").read_text(), re.DOTALL
    )[1]
    assert shown.strip() == table.strip()


def test_results_state_the_accuracy_that_the_shipped_features_have():
    with safe_open(DSPRITES_CONVNET, "pt") as file:
        accuracy = json.loads(file.metadata()["info"])["accuracy"]
    rows = {name: " | ".join(f"{value:.2f}" for value in values.values()) for name, values in accuracy.items()}
    titles = {
        "dsprites": "dSprites",
        "color-dsprites": "Color-dSprites",
        "noisy-dsprites": "Noisy-dSprites",
        "scream-dsprites": "Scream-dSprites",
    }
    text = (CHECKOUT / "docs" / "results.md").read_text()
    assert not [line for name, title in titles.items() if (line := f"| {title} | {rows[name]} |") not in text]


def test_readme_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)#]+)\)", (CHECKOUT / "README.md").read_text()):
        assert link.startswith("http") or (CHECKOUT / link).exists(), link
