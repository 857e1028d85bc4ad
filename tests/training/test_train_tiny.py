"""The example examples/train_tiny.py, at tiny size."""

import runpy
import sys
from pathlib import Path

from PIL import Image

import idgan

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_tiny.py"


def test_the_example_trains_loads_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), "--out", str(tmp_path), "--steps", "2"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    assert "Sampler(dsprites" in capsys.readouterr().out
    assert idgan.load(tmp_path, device="cpu").c_dim == 10
    with Image.open(tmp_path / "panels.png") as image:
        assert image.width > 3 * 4 * 64
