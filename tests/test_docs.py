"""The site builds without a warning and loads nothing from elsewhere. The tutorial runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
TUTORIAL = CHECKOUT / "docs" / "tutorial.ipynb"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("material", "mkdocstrings_handlers.python"):
        pytest.importorskip(name, reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", out]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr.partition("Cleaning site directory")[2], done.stderr
    return out


def test_the_site_loads_nothing_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 8
    for page in pages:
        html = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe)[^>]*\bsrc=\"?([^\">\s]+)", html)
        loaded += re.findall(r"<link[^>]*rel=\"?(?:stylesheet|preconnect|icon)\"?[^>]*href=\"?([^\">\s]+)", html)
        assert loaded
        assert not [address for address in loaded if re.match(r"(https?:)?//", address)], page


def test_the_site_describes_what_users_call(site):
    html = (site / "api.html").read_text()
    for name in ("idgan.load", "idgan.train", "idgan.Sampler.edit", "idgan.training.Callback.on_step", "idgan.errors"):
        assert f'id="{name}"' in html
    assert "how-to-add-a-network" in (site / "extend.html").read_text()
    assert "celeba-64-w16" in (site / "index.html").read_text()


def test_the_notebook_holds_no_outputs():
    cells = json.loads(TUTORIAL.read_text())["cells"]
    assert not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]


@pytest.mark.slow
def test_the_tutorial_runs():
    nbclient = pytest.importorskip("nbclient", reason="the extra docs is not installed")
    nbformat = pytest.importorskip("nbformat", reason="the extra docs is not installed")
    pytest.importorskip("ipykernel", reason="the extra docs is not installed")
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(TUTORIAL.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    printed = "".join(output.get("text", "") for output in outputs)
    assert len(pictures) == 5
    assert "vae: step 0 of 20\nvae: done\ngan: step 0 of 20\ngan: done\n" in printed
    assert outputs[-1]["data"]["text/plain"].startswith("Sampler(dsprites")
