"""What every test may use."""

import os
import sys
from pathlib import Path

# Libraries read these when they are first imported. Uploads by xet need a service that the local hub does not have.
os.environ.update(
    OMP_NUM_THREADS="1",  # tests run in parallel processes, one for each core; so do the commands that they start
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_PROXY="127.0.0.1,localhost",
)

import pytest
import torch

sys.path.append(str(Path(__file__).parent))  # tests are no package; this finds bands.py

torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """`shared("data/...")` is the path of a file of real data next to the checkout. A missing file skips the test."""

    def find(relative):
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"real data not at hand: {relative}")
        return path

    return find


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
