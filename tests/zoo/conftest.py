"""The local hub as a fixture. The client reads its variables when it is imported, so they are set before any test imports it."""

import os

import pytest
from local_hub import LocalHub

os.environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1", HF_HUB_DISABLE_TELEMETRY="1")


@pytest.fixture
def hub():
    with LocalHub() as hub:
        yield hub
