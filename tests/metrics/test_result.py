import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch

from idgan.metrics import MetricResult
from idgan.metrics.result import installed, versions


def test_details_of_any_kind_survive_json():
    details = {
        "array": np.eye(2, dtype=np.float32),
        "tensor": torch.arange(3),
        "flag": np.bool_(True),
        "mask": np.array([True, False]),
        3: (np.int64(4), None, "a"),
    }
    result = MetricResult("fvm", np.float32(0.5), "paper", np.int64(800), seed=0, details=details)
    stated = json.loads(json.dumps(result.to_dict()))
    assert stated["details"] == {
        "array": [[1, 0], [0, 1]],
        "tensor": [0, 1, 2],
        "flag": True,
        "mask": [True, False],
        "3": [4, None, "a"],
    }
    assert stated["details"]["flag"] is stated["details"]["mask"][0] is True
    assert MetricResult(**stated) == result


def test_versions_are_filled_in():
    versions = MetricResult("fvm", 0.5, "paper", 800, seed=0).versions
    assert versions["torch"] == torch.__version__ and versions["numpy"] == np.__version__ and "idgan" in versions


def test_versions_of_libraries_are_those_installed():
    assert versions("pytest", "tqdm") == versions() | installed("pytest", "tqdm")
    assert installed("pytest", "no-such-package") == {"pytest": pytest.__version__, "no-such-package": "unknown"}


def test_row_shows_all_that_a_comparison_needs():
    row = str(MetricResult("mig", 0.51239, "10,000 points", 10_000, seed=7, confidence=0.01))
    assert all(part in row for part in ("mig", "0.5124 ± 0.0100", "n=10000", "seed=7", "10,000 points"))
    assert "±" not in str(MetricResult("mig", 0.5, "", 1, seed=None))


def test_is_frozen():
    with pytest.raises(FrozenInstanceError):
        MetricResult("mig", 0.5, "", 1, seed=None).value = 1
