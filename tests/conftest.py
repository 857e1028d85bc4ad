"""What every test may use."""

from pathlib import Path

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
