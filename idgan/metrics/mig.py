"""The mutual information gap (MIG): how much more the best code dimension knows about a factor than the second best."""

import numpy as np
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import check_integer
from idgan.metrics.codes import Encode, sample_codes, varying_factors
from idgan.metrics.result import MetricResult
from idgan.rng import seeded_rng

__all__ = ["discrete_mutual_information", "discretize", "mutual_information_gap"]

RESAMPLES = 50


def mutual_information_gap(
    encode: Encode, factor_grid: FactorGrid, *, seed: int, points: int = 10_000, bins: int = 20
) -> MetricResult:
    """Gap between the two largest mutual informations of a code dimension with a factor, over the factor's entropy.

    The value is the mean over factors. The mean codes of `points` random grid points are cut into `bins` equal-width
    bins over their observed range. A factor with more values than bins cannot reach 1.

    Args:
        encode: maps long grid indices (N,) to mean codes (N, c_dim) with c_dim >= 2.

    Returns:
        MetricResult in [0, 1]. The confidence is the standard deviation over 50 bootstrap resamples of the points.
        Details hold the mutual information (c_dim, F) and the entropies (F,) in nats, and the gap of each factor.

    Source: Chen et al. 2018, section 4; protocol of disentanglement_lib.
    """
    check_integer(2, points=points, bins=bins)
    varying_factors(factor_grid)
    rng = seeded_rng(seed)
    codes, factors = sample_codes(encode, factor_grid, points, rng)
    check_integer(2, c_dim=codes.shape[1])
    labels = discretize(codes, bins)

    information, entropy = discrete_mutual_information(labels, factors)
    gaps = _gaps(information, entropy)
    resamples = torch.randint(points, (RESAMPLES, points), generator=rng, device="cpu").numpy()
    resampled = [_gaps(*discrete_mutual_information(labels[rows], factors[rows])).mean() for rows in resamples]
    return MetricResult(
        "mig",
        gaps.mean(),
        f"disentanglement_lib: {points} points, {bins} equal-width bins",
        points,
        seed,
        confidence=float(np.std(resampled, ddof=1)),
        details={
            "mutual_information": information,
            "entropy": entropy,
            "gaps": dict(zip(factor_grid.names, gaps)),
            "best_dim": dict(zip(factor_grid.names, information.argmax(axis=0))),
        },
    )


def discretize(codes: np.ndarray, bins: int) -> np.ndarray:
    """Bin in [0, bins) of each value of `codes` (N, D), as (N, D).

    Bins have equal width over the range of a column. A constant column falls into one bin.
    """
    low, high = codes.min(axis=0), codes.max(axis=0)
    edges = np.linspace(low, high, bins + 1)[1:-1]
    return np.stack([np.searchsorted(edge, code, side="right") for edge, code in zip(edges.T, codes.T)], axis=1)


def discrete_mutual_information(labels: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information (D, F) of each column of `labels` (N, D) with each of `factors` (N, F), and entropies (F,).

    Both arrays hold small integers of 0 or more. This is the plug-in estimate in nats:
    I = H(label) + H(factor) - H(label, factor).
    """
    size = factors.max() + 1
    joint = labels[:, :, None] * size + factors[:, None, :]
    factor_entropy = _column_entropies(factors)
    joint_entropy = _column_entropies(joint.reshape(len(joint), -1)).reshape(joint.shape[1:])
    information = _column_entropies(labels)[:, None] + factor_entropy - joint_entropy
    return information.clip(min=0), factor_entropy


def _column_entropies(labels: np.ndarray) -> np.ndarray:
    """Entropy (D,) in nats of each column of the integers `labels` (N, D), counted in one pass."""
    total, columns = labels.shape
    width = labels.max() + 1
    counts = np.bincount((labels + width * np.arange(columns)).ravel(), minlength=width * columns)
    counts = counts.reshape(columns, width)
    return np.log(total) - (counts * np.log(counts.clip(min=1))).sum(axis=1) / total


def _gaps(information: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    second, first = np.sort(information, axis=0)[-2:]
    return (first - second) / entropy
