"""The scripts in examples/ run unchanged with the checkpoint in the package."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import idgan
from idgan.images import save_png

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_quickstart(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "quickstart.py", "--out", tmp_path], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "codes (8, 10)" in done.stdout
    for name in ("edited.png", "traversals.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 128


def test_edit_photo(tmp_path):
    save_png(idgan.load("dsprites").sample(seed=1)[0], tmp_path / "photo.png")
    command = [sys.executable, EXAMPLES / "edit_photo.py", "photo.png", "--model", "dsprites", "--steps", "20"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = map(float, re.search(r"a random s: (.*) dB, with the s found: (.*) dB", done.stdout).groups())
    assert after > before
    assert "edited.png: dimension" in done.stdout
    with Image.open(tmp_path / "edited.png") as picture:
        assert picture.width > 3 * 128


@pytest.mark.slow
def test_plug_in(tmp_path):
    command = [sys.executable, EXAMPLES / "plug_in.py", "--out", tmp_path / "run", "--steps", "2", "--batch-size", "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Sampler(plugged-in: c 10" in done.stdout and "model.safetensors: the code of the first disk" in done.stdout
    assert (tmp_path / "run" / "model.safetensors").exists()
    for stage in ("vae", "gan"):
        assert (tmp_path / "run" / stage / "state.safetensors").exists()
    with Image.open(tmp_path / "run" / "samples.png") as picture:
        assert min(picture.size) > 64
