"""Code alignment: how far the encoder's reading of G(s, c) is from c."""

from typing import Any

import numpy as np

from idgan.errors import InvalidInputError
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult

__all__ = ["code_alignment"]


def code_alignment(read_back: Any, c: Any, *, active: Any, seed: int) -> MetricResult:
    """Mean absolute difference between c and the encoder's mean of G(s, c), over the active dimensions.

    Args:
        read_back: (N, c_dim) posterior means of the generated images.
        c: (N, c_dim) codes that the images were generated from.
        active: boolean (c_dim,), such as `Sampler.active`. At least one is True.
        seed: the seed that c and s were drawn with.

    Returns:
        MetricResult >= 0. 0 is perfect. The confidence is the standard error over images. Details hold the mean
        absolute difference of each dimension, and that over all dimensions.
    """
    read_back, c = code_array(read_back, "read_back"), code_array(c, "c")
    active = np.asarray(active, dtype=bool)
    if read_back.shape != c.shape or active.shape != c.shape[1:] or len(c) < 2 or not active.any():
        raise InvalidInputError(
            f"read_back has shape {read_back.shape}, c {c.shape}, active {active.shape} with {active.sum()} True;"
            " expected (N, c_dim) twice with N >= 2, and (c_dim,) with one or more True"
        )
    difference = np.abs(read_back - c)
    per_image = difference[:, active].mean(axis=1)
    return MetricResult(
        "code_alignment",
        per_image.mean(),
        f"mean |E[c | G(s, c)] - c| over {active.sum()} active of {len(active)} dimensions",
        len(c),
        seed,
        confidence=per_image.std(ddof=1) / len(c) ** 0.5,
        details={"per_dim": difference.mean(axis=0), "all_dims": difference.mean(), "active": active},
    )
