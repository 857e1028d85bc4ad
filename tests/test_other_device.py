"""The tests in `on_other_device.py`."""

import subprocess
import sys
from pathlib import Path

import other_device
import pytest

FILE = Path(__file__).with_name("on_other_device.py")


@pytest.mark.skipif(not other_device.AVAILABLE, reason="this PyTorch cannot define a device in Python")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_everything_works_on_a_device_that_is_not_the_cpu(which):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "-m", which, FILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
