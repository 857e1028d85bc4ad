"""The scripts in benchmarks/ that measure released models run with them."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from idgan.data import open_dataset
from idgan.rng import seeded_rng

SPRITES = Path(__file__).resolve().parents[1] / "benchmarks" / "sprites.py"


def sprites(*arguments):
    return subprocess.run([sys.executable, SPRITES, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("model", "rest"),
    [("color-dsprites", r"  PSNR [\d.]+ dB  IoU 0\.[3-9]\d+"), ("noisy-dsprites", "")],
)
def test_sprites_of_the_variants(model, rest):
    done = sprites(model, "--images", "12")
    assert done.returncode == 0, done.stderr
    lines = rf"renders    told shape [\d.]+\ngenerator  told shape [\d.]+{rest}\ndecoder    told shape [\d.]+{rest}\n"
    assert re.fullmatch(lines, done.stdout), done.stdout


def test_other_models_are_refused():
    done = sprites("celeba-64-w16")
    assert done.returncode == 2
    assert done.stderr.endswith(
        "the data set of celeba-64-w16 is celeba-64, but must be one of dsprites, color-dsprites, noisy-dsprites, "
        "scream-dsprites\n"
    )


def test_the_outline_of_a_sprite_does_not_depend_on_its_color():
    overlap = runpy.run_path(str(SPRITES))["overlap"]
    rows = torch.arange(0, 40_960, 1_000)  # of the smallest scale
    small, large = (open_dataset("dsprites").images(rows + shift) for shift in (0, 5 * 40_960))
    painted = open_dataset("color-dsprites").images(rows, seeded_rng(0))
    assert painted.flatten(1).amax(1).min() < 0.5  # some sprites are dark
    assert overlap(small, painted) == 1 and overlap(large, painted) < 0.5
