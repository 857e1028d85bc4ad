"""Kernel distance (KID): an unbiased squared maximum mean discrepancy between two sets of features."""

from typing import Any

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult
from idgan.rng import seeded_rng

__all__ = ["kid", "squared_mmd"]


def kid(
    real: Any, fake: Any, *, features: str, seed: int, subsets: int = 100, subset_size: int = 1_000
) -> MetricResult:
    """Mean of `squared_mmd` over random subsets of real and generated features.

    Its expectation does not depend on the number of samples. It can be negative near 0.

    Args:
        real: features (N, D) of real images, N >= `subset_size`.
        fake: features (M, D) of generated images, M >= `subset_size`.
        features: name and version of the feature network, for the protocol.
        seed: seed of the samples and of the subsets.
        subsets: number of subsets.
        subset_size: size of a subset on each side.

    Returns:
        MetricResult. The confidence is one standard deviation over other samples of real and generated images,
        by the delete-d jackknife. With n = min(N, M) and b = `subset_size`, it is the deviation over subsets times
        sqrt(b / (n - b) + 1 / `subsets`). The last term stands for the random choice of subsets. The estimate is too
        large if N and M differ or the distance is near 0. It is None if b = n, because a subset is then a whole set.
        Details hold the deviation over subsets, which papers print after ±.

    Source: Binkowski et al. 2018; Shao & Wu 1989 (the jackknife).
    """
    real, fake = code_array(real, "real"), code_array(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise InvalidInputError(f"real features have {real.shape[1]} dimensions, generated ones {fake.shape[1]}")
    check_integer(2, subsets=subsets, subset_size=subset_size)
    check_integer(subset_size, real_samples=len(real), generated_samples=len(fake))
    rng = seeded_rng(seed)

    def draw(samples: np.ndarray) -> np.ndarray:
        return samples[torch.randperm(len(samples), generator=rng, device="cpu")[:subset_size].numpy()]

    values = np.array([squared_mmd(draw(real), draw(fake)) for _ in range(subsets)])
    protocol = f"{features}; {len(real)} real vs {len(fake)} generated, {subsets} subsets of {subset_size}"
    deviation, left_out = values.std(ddof=1), min(len(real), len(fake)) - subset_size
    confidence = deviation * np.sqrt(subset_size / left_out + 1 / subsets) if left_out else None
    return MetricResult(
        "kid", values.mean(), protocol, len(fake), seed, confidence=confidence, details={"subset_deviation": deviation}
    )


def squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased squared MMD between x (N, D) and y (M, D) under the kernel k(a, b) = (a.b / D + 1)^3."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def within(a: np.ndarray) -> float:
        # Pairs of a point with itself would bias the estimate.
        values = kernel(a, a)
        return (values.sum() - values.trace()) / (len(a) * (len(a) - 1))

    return float(within(x) + within(y) - 2 * kernel(x, y).mean())
