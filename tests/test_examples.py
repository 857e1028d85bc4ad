"""The scripts in examples/ run unchanged with the checkpoint in the package."""

import importlib.util
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from PIL import Image, ImageChops

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


def test_demo(monkeypatch):
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    pytest.importorskip("gradio", reason="gradio (the extra demo) is not installed")
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    page = demo.page("dsprites")
    still, moved = page.fn(0, 0.0, 0.0, 0.0), page.fn(0, 1.5, 0.0, 0.0)
    assert [image.size for image in still] == [(256, 256)] * 2
    assert all(ImageChops.difference(a, b).getbbox() for a, b in zip(still, moved))
    _, address, _ = page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        with urllib.request.urlopen(address, timeout=30) as response:
            assert "idgan: dsprites" in response.read().decode()
    finally:
        page.close()


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
