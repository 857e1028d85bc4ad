"""The site builds without a warning and loads nothing from elsewhere. The tutorial runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import idgan
from idgan.cli import main

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


PAGES = (
    "README.md",
    "docs/howto.md",
    "docs/gallery.md",
    "docs/method.md",
    "docs/results.md",
    "docs/manifest.md",
    "CONTRIBUTING.md",
)


def documented_commands():
    """(page, words) of every `idgan ...` in the pages."""
    for page in PAGES:
        text = (CHECKOUT / page).read_text().replace("\\\n", " ")
        for line in re.findall(r"(?:^    |`|&& )(idgan [a-z][^`\n]*)", text, re.MULTILINE):
            yield page, line.split("#")[0].split("&&")[0].split()[1:]


def test_every_documented_command_exists_with_its_options_and_files():
    """Upper-case words, such as COMMAND, stand for something else."""
    found = 0
    for page, (name, *words) in documented_commands():
        with click.Context(main) as context:
            command = main.get_command(context, name)
        assert command, (page, name)
        if isinstance(command, click.Group):
            if not words or words[0].startswith("-"):
                continue
            with click.Context(command) as context:
                command = command.get_command(context, words.pop(0))
            assert command, (page, name)
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        unknown = [word for word in words if re.match(r"--?[a-z]", word) and word.split("=")[0] not in options]
        assert not unknown, (page, name, unknown)
        for word in words:
            if word.startswith("examples/"):
                assert list(CHECKOUT.glob(word)), (page, word)
        found += 1
    assert found > 30


def test_the_departures_name_what_released_sprites_have_and_the_paper_s_do_not():
    """A nuisance s, and another method than the paper's."""
    rows = (CHECKOUT / "docs/departures.md").read_text().splitlines()
    for name in idgan.list_models("*dsprites", pretrained=True):
        facts = idgan.info(name)
        own = [f"s of {facts['s_dim']} numbers"] if facts["s_dim"] else []
        own += [f"`{facts['training']['method']}`"] if facts["training"]["method"] != "id-gan" else []
        row = next((row for row in rows if row.startswith(f"| released weights of `{name}` |")), "")
        assert all(fact in row for fact in own), (name, own)


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
