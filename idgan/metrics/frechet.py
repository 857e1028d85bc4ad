"""Fréchet distance between Gaussians fitted to features (FID), and its extrapolation to infinitely many samples."""

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult

__all__ = ["FeatureStatistics", "fid", "fid_infinity", "frechet_distance"]


class FeatureStatistics:
    """Mean and unbiased covariance of features seen so far, in float64: `update` with batches in any split, or `merge` two halves."""

    def __init__(self):
        self.count, self.mean, self._scatter = 0, None, None

    def update(self, features):
        """Add features (N, D), tensor or array. Returns self."""
        features = code_array(features, "features")
        batch = FeatureStatistics()
        batch.count, batch.mean = len(features), features.mean(axis=0)
        centerd = features - batch.mean
        batch._scatter = centerd.T @ centerd
        return self.merge(batch)

    def merge(self, other):
        """Add all that `other` has seen. Returns self. Pairwise update of Chan, Golub & LeVeque 1983."""
        if other.count == 0:
            return self
        if self.count == 0:
            self.count, self.mean, self._scatter = other.count, other.mean, other._scatter.copy()
            return self
        if self.mean.shape != other.mean.shape:
            raise InvalidInputError(
                f"features have {other.mean.size} dimensions; these statistics hold {self.mean.size}"
            )
        total = self.count + other.count
        gap = other.mean - self.mean
        # In place: at 2,048 dimensions the matrix takes 32 MB, and a batch should not copy it.
        self._scatter += other._scatter
        self._scatter += np.outer(gap * (self.count * other.count / total), gap)
        self.mean = self.mean + gap * (other.count / total)
        self.count = total
        return self

    @property
    def covariance(self):
        """(D, D), divided by count - 1; needs two samples."""
        check_integer(2, count=self.count)
        return self._scatter / (self.count - 1)

    def to_arrays(self):
        """All that was seen, as float64 arrays to store: "count" (), "mean" (D,) and "scatter" (D, D); needs a sample."""
        check_integer(1, count=self.count)
        return {"count": np.array(self.count, dtype=np.float64), "mean": self.mean, "scatter": self._scatter}

    @classmethod
    def from_arrays(cls, arrays):
        """The statistics that `to_arrays` gave."""
        statistics = cls()
        statistics.count, statistics.mean, statistics._scatter = int(arrays["count"]), arrays["mean"], arrays["scatter"]
        return statistics


def frechet_distance(a, b):
    """|mean_a - mean_b|^2 + tr(A) + tr(B) - 2 tr (A B)^(1/2), A and B the covariances of two `FeatureStatistics`.

    With A = F F' and B = G G', tr (A B)^(1/2) is the sum of the singular values of F' G. Directions in which a set does not vary at
    all are left out of F and G, so fewer samples than dimensions cost no precision.
    """
    if a.count and b.count and a.mean.shape != b.mean.shape:
        raise InvalidInputError(f"the two sets have {a.mean.size} and {b.mean.size} feature dimensions")
    covariance_a, covariance_b = a.covariance, b.covariance
    overlap = np.linalg.svd(_factor(covariance_a).T @ _factor(covariance_b), compute_uv=False).sum()
    distance = np.square(a.mean - b.mean).sum() + covariance_a.trace() + covariance_b.trace() - 2 * overlap
    return max(float(distance), 0.0)


def fid(real, fake, *, features, seed):
    """Fréchet distance between the `FeatureStatistics` of real and generated images, as a result.

    `features` names the feature network and its version, without which a FID cannot be compared; `seed` is that of the samples.
    The value is biased upwards by an amount that shrinks with the number of samples: compare equal counts only.

    Args:
        real: `FeatureStatistics`.
        fake: `FeatureStatistics`, or a list of them, of disjoint random parts of the generated images.

    Returns:
        MetricResult; confidence, with two parts or more, is that of `_deviation`: of other generated images against the same real ones.

    Source: Heusel et al. 2017.
    """
    parts = [fake] if isinstance(fake, FeatureStatistics) else [part for part in fake if part.count]
    whole = FeatureStatistics()
    for part in parts:
        whole.merge(part)
    protocol = f"{features}; {real.count} real vs {whole.count} generated"
    confidence = _deviation(real, whole, parts) if len(parts) > 1 else None
    details = {"real_samples": real.count}
    return MetricResult(
        "fid", frechet_distance(real, whole), protocol, whole.count, seed, confidence=confidence, details=details
    )


def _deviation(real, whole, parts):
    """Standard deviation of the distance of `real` and `whole` over repeated draws of the images that `whole` is of, `parts` being its parts.

    An image moves the distance by its influence on mean and covariance; the influences of a part add up, and how they differ between
    parts tells what other images would do (the infinitesimal jackknife by groups). Of 10 parts, a quarter more or less is chance. It is up to
    half too large where the distance is mostly bias, for the sets are nearly alike or there are fewer samples than dimensions.
    """
    # With A = F F': d tr (A B)^(1/2) = tr F (F' B F)^(-1/2) F' dB / 2, so the distance changes with B by I - F (F' B F)^(-1/2) F'.
    factor = _factor(real.covariance)
    values, vectors = np.linalg.eigh(factor.T @ whole.covariance @ factor)
    kept = values > real.covariance.trace() * whole.covariance.trace() * np.finfo(np.float64).eps
    root = factor @ (vectors[:, kept] / values[kept] ** 0.25)
    slope = np.eye(len(factor)) - root @ root.T
    total = 0.0
    for part in parts:
        gap = part.mean - whole.mean
        spread = (
            (slope * part._scatter).sum() / part.count
            + gap @ slope @ gap
            - (slope * whole._scatter).sum() / whole.count
        )
        total += part.count * (2 * (whole.mean - real.mean) @ gap + spread) ** 2
    return np.sqrt(total / (len(parts) - 1) / whole.count)


def fid_infinity(real, fake_features, *, features, seed, smallest=5_000, sizes=15):
    """FID in the limit of infinitely many generated images: the intercept of a line fitted to FID over 1/N.

    FID is measured on random subsets of `fake_features` (N, D), `sizes` of them, evenly spaced from `smallest` to all N. The bias
    of the real statistics' own finite count stays.

    Returns:
        MetricResult; confidence is the standard error of the intercept. Details hold the subset sizes and their FIDs.

    Source: Chong & Forsyth 2020.
    """
    fake_features = code_array(fake_features, "fake_features")
    check_integer(3, sizes=sizes)
    check_integer(2, smallest=smallest)
    check_integer(smallest + sizes, generated_images=len(fake_features))
    rng = torch.Generator().manual_seed(seed)
    counts = np.linspace(smallest, len(fake_features), sizes).astype(int)
    subsets = [torch.randperm(len(fake_features), generator=rng)[:count].numpy() for count in counts]
    distances = np.array([frechet_distance(real, FeatureStatistics().update(fake_features[rows])) for rows in subsets])

    design = np.stack([np.ones(sizes), 1 / counts], axis=1)
    (intercept, slope), *_ = np.linalg.lstsq(design, distances, rcond=None)
    noise = np.square(distances - design @ (intercept, slope)).sum() / (sizes - 2)
    return MetricResult(
        "fid_infinity",
        intercept,
        f"{features}; {real.count} real vs {sizes} sizes from {smallest} to {len(fake_features)} generated, line over 1/N",
        len(fake_features),
        seed,
        confidence=np.sqrt(noise * np.linalg.inv(design.T @ design)[0, 0]),
        details={"real_samples": real.count, "counts": counts, "fids": distances, "slope": slope},
    )


def _factor(covariance):
    """F (D, rank) with F F' = covariance, numerically null directions left out."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    return vectors[:, kept] * np.sqrt(values[kept])
