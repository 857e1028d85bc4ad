"""What every test may use."""

import os
from pathlib import Path

# Read when huggingface_hub is first imported. Its xet uploads need a service that the local hub is not.
os.environ.update(
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    NO_PROXY="127.0.0.1,localhost",
)

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared():
    """`shared("data/...")`: the path of a file of real data beside the checkout; skips the test where there is none."""

    def find(relative):
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"real data not at hand: {relative}")
        return path

    return find


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
