"""Fréchet distance between Gaussians fitted to features (FID), and its extrapolation to infinitely many samples."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult
from idgan.rng import seeded_rng

__all__ = ["FeatureStatistics", "fid", "fid_infinity", "frechet_distance"]

ROWS = 4096
"""Features that are centered at a time, so that no copy of all of them is made."""


class FeatureStatistics:
    """Mean and covariance of features, in float64. `update` adds a batch, `merge` adds other statistics.

    The result does not depend on how the features are split into batches.

    Attributes:
        count: number of features so far.
        mean: (D,) mean of the features. Empty before the first.
        scatter: (D, D) sum of squared deviations from the mean.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = np.zeros(0)
        self.scatter = np.zeros((0, 0))

    def update(self, features: Any) -> "FeatureStatistics":
        """Add features (N, D), a tensor or an array. Returns self."""
        features = code_array(features, "features")
        batch = FeatureStatistics()
        batch.count, batch.mean = len(features), features.mean(axis=0)
        centered = features - batch.mean
        batch.scatter = centered.T @ centered
        return self.merge(batch)

    def merge(self, other: "FeatureStatistics") -> "FeatureStatistics":
        """Add all features of `other`. Returns self. Pairwise update of Chan, Golub & LeVeque 1983."""
        if other.count == 0:
            return self
        if self.count == 0:
            self.count, self.mean, self.scatter = other.count, other.mean, other.scatter.copy()
            return self
        if self.mean.shape != other.mean.shape:
            raise InvalidInputError(
                f"features have {other.mean.size} dimensions; these statistics hold {self.mean.size}"
            )
        total = self.count + other.count
        gap = other.mean - self.mean
        # In place: at 2,048 dimensions the matrix takes 32 MB, too much to copy for each batch.
        self.scatter += other.scatter
        self.scatter += np.outer(gap * (self.count * other.count / total), gap)
        self.mean = self.mean + gap * (other.count / total)
        self.count = total
        return self

    @property
    def covariance(self) -> np.ndarray:
        """Unbiased covariance (D, D).

        Raises:
            InvalidInputError: fewer than two features were added.
        """
        check_integer(2, count=self.count)
        return self.scatter / (self.count - 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """The statistics as float64 arrays to store: "count" (), "mean" (D,) and "scatter" (D, D).

        Raises:
            InvalidInputError: no feature was added.
        """
        check_integer(1, count=self.count)
        return {"count": np.array(self.count, dtype=np.float64), "mean": self.mean, "scatter": self.scatter}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "FeatureStatistics":
        """The statistics that `to_arrays` stored.

        Raises:
            InvalidInputError: an array is missing, has another shape, or holds values that are not finite.
        """
        if set(arrays) != {"count", "mean", "scatter"}:
            raise InvalidInputError(f"expected the arrays count, mean and scatter, got {', '.join(sorted(arrays))}")
        count, mean, scatter = (np.asarray(arrays[name], dtype=np.float64) for name in ("count", "mean", "scatter"))
        finite = all(np.isfinite(array).all() for array in (count, mean, scatter))
        if count.shape != () or mean.ndim != 1 or scatter.shape != (mean.size, mean.size) or not finite or count < 1:
            raise InvalidInputError(
                f"count {count.shape}, mean {mean.shape} and scatter {scatter.shape} are not feature statistics;"
                " expected finite values of shapes (), (D,) and (D, D), and a count of 1 or more"
            )
        statistics = cls()
        statistics.count, statistics.mean, statistics.scatter = int(count), mean, scatter
        return statistics


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr (A B)^(1/2), with A and B the covariances of `a` and `b`.

    With A = F F' and B = G G', tr (A B)^(1/2) is the sum of the singular values of F' G. F and G leave out directions
    without variance. Fewer samples than dimensions therefore cost no precision.
    """
    if a.count and b.count and a.mean.shape != b.mean.shape:
        raise InvalidInputError(f"the two sets have {a.mean.size} and {b.mean.size} feature dimensions")
    covariance_a, covariance_b = a.covariance, b.covariance
    overlap = np.linalg.svd(_factor(covariance_a).T @ _factor(covariance_b), compute_uv=False).sum()
    distance = np.square(a.mean - b.mean).sum() + covariance_a.trace() + covariance_b.trace() - 2 * overlap
    return max(float(distance), 0.0)


def fid(
    real: FeatureStatistics,
    fake: FeatureStatistics | Sequence[FeatureStatistics],
    *,
    features: str,
    seed: int,
) -> MetricResult:
    """Fréchet distance between features of real and of generated images.

    The value is biased upwards. The bias shrinks with the number of samples, so compare equal counts only.

    Args:
        real: statistics of real images.
        fake: statistics of generated images, or of disjoint random parts of them.
        features: name and version of the feature network, for the protocol.
        seed: seed of the samples.

    Returns:
        MetricResult. With two parts or more it has a confidence: one standard deviation over other generated images
        against the same real ones (see `_deviation`).

    Source: Heusel et al. 2017.
    """
    parts = [fake] if isinstance(fake, FeatureStatistics) else [part for part in fake if part.count]
    whole = FeatureStatistics()
    for part in parts:
        whole.merge(part)
    check_integer(2, real_images=real.count, generated_images=whole.count)
    return MetricResult(
        "fid",
        frechet_distance(real, whole),
        f"{features}; {real.count} real vs {whole.count} generated",
        whole.count,
        seed,
        confidence=_deviation(real, whole, parts) if len(parts) > 1 else None,
        details={"real_samples": real.count},
    )


def _deviation(real: FeatureStatistics, whole: FeatureStatistics, parts: Sequence[FeatureStatistics]) -> float:
    """Standard deviation of the distance between `real` and `whole` over other samples of generated images.

    Each image influences mean and covariance, and through them the distance. The influences of the images of a part
    add up. Their spread over `parts` estimates the effect of other images (infinitesimal jackknife by groups). With 10
    parts the estimate itself varies by a quarter. It is up to half too large if the distance is mostly bias, that is,
    for nearly equal sets or fewer samples than dimensions.
    """
    slope = _slope(real, whole)
    total = 0.0
    for part in parts:
        gap = part.mean - whole.mean
        spread = (
            (slope * part.scatter).sum() / part.count + gap @ slope @ gap - (slope * whole.scatter).sum() / whole.count
        )
        total += part.count * (2 * (whole.mean - real.mean) @ gap + spread) ** 2
    return float(np.sqrt(total / (len(parts) - 1) / whole.count))


def _slope(real: FeatureStatistics, fake: FeatureStatistics) -> np.ndarray:
    """Derivative (D, D) of the distance by the covariance of `fake`.

    With A = F F': d tr (A B)^(1/2) = tr F (F' B F)^(-1/2) F' dB / 2. So it is I - F (F' B F)^(-1/2) F'.
    """
    factor = _factor(real.covariance)
    values, vectors = np.linalg.eigh(factor.T @ fake.covariance @ factor)
    kept = values > real.covariance.trace() * fake.covariance.trace() * np.finfo(np.float64).eps
    root = factor @ (vectors[:, kept] / values[kept] ** 0.25)
    derivative: np.ndarray = np.eye(len(factor)) - root @ root.T
    return derivative


def fid_infinity(
    real: FeatureStatistics,
    fake_features: Any,
    *,
    features: str,
    seed: int,
    smallest: int = 5_000,
    sizes: int = 15,
) -> MetricResult:
    """FID in the limit of infinitely many generated images: the intercept of a line fitted to FID over 1/N.

    FID is measured on random subsets of the generated features. The bias of the finite number of real images stays.

    Args:
        real: statistics of real images.
        fake_features: features (N, D) of generated images.
        features: name and version of the feature network, for the protocol.
        seed: seed of the samples and of the subsets.
        smallest: size of the smallest subset.
        sizes: number of subsets, with sizes spaced evenly from `smallest` to N.

    Returns:
        MetricResult. The confidence is one standard deviation of the intercept over other generated images against the
        same real ones. It is the root of the sum of two squares. The first is the infinitesimal jackknife: each
        image influences the FIDs of the subsets that it is in, and these have known weights in the intercept. The
        second is the standard error of the line, which alone is too small by far, because the subsets share images.
        Details hold the subset sizes and their FIDs.

    Source: Chong & Forsyth 2020.
    """
    fake_features = code_array(fake_features, "fake_features")
    check_integer(2, real_images=real.count)
    check_integer(3, sizes=sizes)
    check_integer(2, smallest=smallest)
    check_integer(smallest + sizes, generated_images=len(fake_features))
    rng = seeded_rng(seed)
    counts = np.linspace(smallest, len(fake_features), sizes).astype(int)
    subsets = [
        torch.randperm(len(fake_features), generator=rng, device="cpu")[: int(count)].numpy() for count in counts
    ]
    statistics = [FeatureStatistics().update(fake_features[rows]) for rows in subsets]
    distances = np.array([frechet_distance(real, each) for each in statistics])

    fit = np.linalg.pinv(np.stack([np.ones(sizes), 1 / counts], axis=1))
    intercept, slope = fit @ distances
    noise = np.square(distances - intercept - slope / counts).sum() / (sizes - 2) * np.square(fit[0]).sum()
    whole = statistics[-1]
    derivative, gap = _slope(real, whole), whole.mean - real.mean
    influence = np.empty(len(fake_features))
    for first in range(0, len(fake_features), ROWS):
        part = fake_features[first : first + ROWS] - whole.mean
        influence[first : first + ROWS] = (part @ derivative * part).sum(1) + 2 * part @ gap
    shares = np.zeros(len(fake_features))  # of each image in the intercept
    for rows, weight in zip(subsets, fit[0]):
        shares[rows] += weight / len(rows)
    generated = f"{sizes} sizes from {smallest} to {len(fake_features)} generated"
    return MetricResult(
        "fid_infinity",
        intercept,
        f"{features}; {real.count} real vs {generated}, line over 1/N",
        len(fake_features),
        seed,
        confidence=np.sqrt(np.square(shares * (influence - influence.mean())).sum() + noise),
        details={"real_samples": real.count, "counts": counts, "fids": distances, "slope": slope},
    )


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F (D, rank) with F F' = covariance, without directions that are numerically null."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
