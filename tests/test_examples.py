"""The scripts in examples/ run as they stand, against the embedded checkpoint."""

import subprocess
import sys
from pathlib import Path

from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_quickstart(tmp_path):
    done = subprocess.run([sys.executable, EXAMPLES / "quickstart.py", "--out", tmp_path], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "codes (8, 10)" in done.stdout
    for name in ("edited.png", "traversals.png"):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 128
