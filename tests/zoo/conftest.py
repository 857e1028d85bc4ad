"""The local hub as a fixture, and an environment in which nothing but that hub is asked."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are no package
from local_hub import LocalHub

for name in (
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_HUB_ETAG_TIMEOUT",
    "HF_HUB_DOWNLOAD_TIMEOUT",
    "IDGAN_MANIFEST",
):
    os.environ.pop(name, None)


@pytest.fixture
def hub():
    with LocalHub() as hub:
        yield hub
