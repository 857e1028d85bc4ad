"""Rules of the whole project: names, imports, style, types, and a README that agrees with the code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

import idgan
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


@pytest.mark.parametrize("name", RECIPES)
def test_the_manifest_states_data_set_and_steps_of_the_recipe(name):
    recipe, entry = RECIPES[name](), idgan.info(name)
    assert entry["data"]["id"] == recipe.data
    assert entry["recipe_steps"] == {stage: value.steps for stage, value in recipe.stages.items()}


def test_imports_point_down():
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["check", "format"])
def test_ruff_finds_nothing(command):
    pytest.importorskip("ruff")
    command = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def mypy(tmp_path_factory):
    """`mypy(*arguments)`: the output of mypy on the checkout, "" if it finds nothing."""
    pytest.importorskip("mypy")
    cache = tmp_path_factory.mktemp("mypy")

    def run(*arguments):
        command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", cache, *arguments]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True).stdout

    return run


@pytest.mark.slow
def test_mypy_finds_nothing(mypy):
    assert mypy() == ""


PUBLIC_FACE = """
from pathlib import Path

from torch import Tensor

import idgan
from idgan.metrics.result import MetricResult

names: list[str] = idgan.list_models(status="released")
g: idgan.Sampler = idgan.load("dsprites", device="cpu")
x: Tensor = g.sample(n=4, seed=0)
code: Tensor = g.encode(x)
pair: tuple[Tensor, Tensor] = g.invert(x, steps=10)
edited: Tensor = g.edit(x, {g.active_dims[0]: 1.5})
batches: list[Tensor] = list(g.render(*pair, batch_size=2))
again: idgan.Sampler = idgan.Sampler.from_pretrained(g.save_pretrained("mine"))
address: str = g.push_to_hub("org/name", private=True)
run: Path = idgan.train("dsprites", "runs/mine")
results: list[MetricResult] = idgan.evaluate(g, metrics=["mig"])

idgan.lod("dsprites")  # type: ignore[attr-defined]
idgan.load(4)  # type: ignore[arg-type]
g.smaple(n=4)  # type: ignore[operator]
g.sample(n="4")  # type: ignore[arg-type]
g.edit(x, 5)  # type: ignore[arg-type]
idgan.train("dsprites", "runs/mine", methd="gan")  # type: ignore[call-arg]
"""


@pytest.mark.slow
def test_the_public_face_is_typed(mypy, tmp_path):
    """An unused `type: ignore` is an error, too: each of these lines must be wrong."""
    (tmp_path / "user.py").write_text(PUBLIC_FACE)
    assert mypy("--strict", "--follow-imports=silent", str(tmp_path / "user.py")) == ""


def test_importing_the_package_does_not_load_torch():
    code = "import sys, idgan; dir(idgan); idgan.errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT).returncode == 0


def test_every_public_name_resolves():
    assert all(getattr(idgan, name) is not None for name in idgan.__all__)
    assert set(idgan.__all__) <= set(dir(idgan))
    with pytest.raises(AttributeError, match="module 'idgan' has no attribute 'lod'"):
        idgan.lod  # noqa: B018


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


def test_ci_installs_and_tests_as_the_readme_says():
    command = "pip install '.[test]' && pytest"
    assert f"\n    {command}\n" in (CHECKOUT / "README.md").read_text()
    assert command in re.sub(r"--quiet ", "", (CHECKOUT / ".ci" / "run").read_text())


def test_the_sample_sprites_are_renders_of_the_package(tmp_path, monkeypatch):
    """By the code in their README."""
    folder = CHECKOUT / "examples" / "images"
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    made = {path.name: path.read_bytes() for path in (tmp_path / "examples/images/sprites").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (folder / "sprites").iterdir()}
    assert len(made) == 12 and len(list((folder / "faces").glob("*.png"))) == 6
