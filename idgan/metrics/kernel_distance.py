"""Kernel distance (KID): an unbiased squared maximum mean discrepancy between feature sets."""

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult

__all__ = ["kid", "squared_mmd"]


def kid(real, fake, *, features, seed, subsets=100, subset_size=1_000):
    """Mean of `squared_mmd` over random subsets of real and generated features, (N, D) and (M, D), N and M >= `subset_size`.

    Its expectation does not depend on the number of samples; around 0 it can be negative. `features` names the feature network.

    Returns:
        MetricResult; confidence is the standard deviation of the value over repeated draws of all samples, real ones too, by the
        delete-d jackknife: with n = min(N, M) and b = `subset_size`, the deviation over subsets times sqrt(b / (n - b) + 1 / `subsets`),
        the last term for the subsets being drawn at random. It errs upwards if N and M differ, or if the distance is near 0. None if b is n:
        a subset then is the whole of a set. Details hold the deviation over subsets, which is what papers print after ±.

    Source: Binkowski et al. 2018; Shao & Wu 1989 (the jackknife).
    """
    real, fake = code_array(real, "real"), code_array(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise InvalidInputError(f"real features have {real.shape[1]} dimensions, generated ones {fake.shape[1]}")
    check_integer(2, subsets=subsets, subset_size=subset_size)
    check_integer(subset_size, real_samples=len(real), generated_samples=len(fake))
    rng = torch.Generator().manual_seed(seed)

    def draw(samples):
        return samples[torch.randperm(len(samples), generator=rng)[:subset_size].numpy()]

    values = np.array([squared_mmd(draw(real), draw(fake)) for _ in range(subsets)])
    protocol = f"{features}; {len(real)} real vs {len(fake)} generated, {subsets} subsets of {subset_size}"
    deviation, left_out = values.std(ddof=1), min(len(real), len(fake)) - subset_size
    confidence = deviation * np.sqrt(subset_size / left_out + 1 / subsets) if left_out else None
    return MetricResult(
        "kid", values.mean(), protocol, len(fake), seed, confidence=confidence, details={"subset_deviation": deviation}
    )


def squared_mmd(x, y):
    """Unbiased squared MMD between x (N, D) and y (M, D) under the kernel k(a, b) = (a.b / D + 1)^3."""

    def kernel(a, b):
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a):
        # A point against itself is what would bias the estimate.
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())
