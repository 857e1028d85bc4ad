"""Does the encoder read back the code that the generator was given?"""

import numpy as np

from idgan.errors import InvalidInputError
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult

__all__ = ["code_alignment"]


def code_alignment(read_back, c, *, active, seed):
    """Mean absolute difference between the encoder's mean of G(s, c) and c, over the active dimensions.

    Args:
        read_back: (N, c_dim) posterior means of the generated images.
        c: (N, c_dim) codes they were generated from.
        active: boolean (c_dim,), such as `Sampler.active`; at least one True.
        seed: the seed that c and s were drawn from.

    Returns:
        MetricResult >= 0, 0 being perfect; confidence is the standard error over images. Details hold the mean absolute
        difference of each dimension and that over all dimensions.
    """
    read_back, c = code_array(read_back, "read_back"), code_array(c, "c")
    active = np.asarray(active, dtype=bool)
    if read_back.shape != c.shape or active.shape != c.shape[1:] or len(c) < 2 or not active.any():
        raise InvalidInputError(
            f"read_back {read_back.shape}, c {c.shape} and active {active.shape} ({active.sum()} active) do not fit:"
            " expected (N, c_dim) twice with N >= 2, and (c_dim,) with a active dimension"
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
