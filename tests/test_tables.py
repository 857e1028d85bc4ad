"""The scripts that remake the paper's tables and figures, at the scale of seconds. What one trained, another finds."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from idgan.data.prepare import prepare_images
from idgan.images import save_png

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
pytestmark = pytest.mark.filterwarnings("ignore:this device has no bf16")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture
def script(out, monkeypatch, capsys):
    """Runs a script in this process, all on one directory: script("table2", "--names", "dsprites") -> what it printed."""

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--scale", "tiny", "--out", str(out), *options])
        monkeypatch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


def cells(printed):
    """Row label -> list of the cells' text, of a printed Markdown table."""
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in printed.splitlines() if line.startswith("| ")]
    return {label: values for label, *values in rows}


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_table_2_and_again_without_training(script, out):
    assert "Missing" in script("table2", "--table-only")
    printed = script("table2")
    table = cells(printed)
    assert list(table)[1:] == ["beta-VAE", "VAE-GAN", "ID-GAN, end to end", "ID-GAN, two steps"]
    assert all(re.fullmatch(r"-?[\d.e+-]+", value) for values in list(table.values())[1:] for value in values)
    assert table["ID-GAN, two steps"][:2] == table["beta-VAE"][:2]  # one encoder
    assert table["ID-GAN, two steps"][2] != table["beta-VAE"][2]
    before = stamps(out)
    assert script("table2") == printed == script("table2", "--table-only")
    assert stamps(out) == before
    assert (out / "tiny" / "table-2-dsprites.md").read_text() == printed


def test_table_3_stands_on_the_encoder_of_table_2(script, out):
    before = stamps(out)
    table = cells(script("table3", "--names", "dsprites"))
    assert list(table)[1:] == ["without distillation", "cGAN", "ID-GAN"]
    assert all(value for values in table.values() for value in values[1:])
    assert {path: stamps(out)[path] for path in before} == before
    assert len(list((out / "tiny" / "dsprites").glob("beta-vae-seed-*"))) == 1


def test_seeds_are_told_apart_and_averaged(script):
    table = cells(script("table3", "--seeds", "0,1", "--table-only"))
    assert table["ID-GAN"][0].endswith("(n=1)")


def test_table_1_and_figure_3(script, out):
    table = cells(script("table1", "--names", "dsprites"))
    assert table["GAN"][:2] == ["", ""] and table["GAN"][2]
    assert table["ID-GAN on beta-VAE"][:2] == table["beta-VAE"][:2] != table["ID-GAN on Factor-VAE"][:2]
    before = stamps(out)
    script("figure3", "--names", "dsprites")
    assert stamps(out) == before
    for metric in ("fvm", "mig"):
        assert Image.open(out / "tiny" / f"figure3-{metric}.png").width > 200


def test_figure_a10_trains_a_run_a_weight(script, out):
    table = cells(script("figure_a10", "--names", "dsprites"))
    assert all(value for values in table.values() for value in values)
    runs = {path.name for path in (out / "tiny" / "dsprites").glob("id-gan-on-beta-vae-id_weight-*")}
    assert runs == {f"id-gan-on-beta-vae-id_weight-{weight:g}-seed-0" for weight in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)}
    assert (out / "tiny" / "figure_a10.png").exists()


def test_table_4_on_a_folder_of_images(script, tmp_path):
    for i in range(6):
        save_png(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(i)), tmp_path / "pictures" / f"{i}.png")
    prepare_images("folder", tmp_path / "pictures", tmp_path / "prepared", 64)
    printed = script("table4", "--names", "celeba-64", "--data", str(tmp_path / "prepared"), "--extractor", "dsprites-convnet")
    assert all(values[0] for values in cells(printed).values())


def test_figure_8(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["figure8.py", "--model", "dsprites", "--size", "3", "--out", str(tmp_path / "grid.png")])
    runpy.run_path(str(EXAMPLES / "figure8.py"), run_name="__main__")
    assert Image.open(tmp_path / "grid.png").width > 4 * 128
