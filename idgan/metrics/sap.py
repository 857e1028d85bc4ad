"""SAP: the gap between the two code dimensions that best predict a factor alone."""

import numpy as np
import torch

from idgan.metrics.codes import at_least, sample_codes, varying_factors
from idgan.metrics.result import MetricResult

__all__ = ["linear_svm", "separated_attribute_predictability"]


def separated_attribute_predictability(encode, grid, *, seed, train_points=10_000, test_points=5_000):
    """(best - second best test accuracy of a linear SVM that sees one code dimension), averaged over factors.

    `encode(indices)` maps long grid indices (N,) to mean codes (N, c_dim), c_dim >= 2. All factors are treated as classes.

    Returns:
        MetricResult in [0, 1]; confidence is the binomial standard error of the gaps. Details hold the accuracies (c_dim, F).

    Source: Kumar et al. 2018, section 3; protocol of disentanglement_lib (C = 0.01, balanced class weights).
    """
    at_least(2, train_points=train_points, test_points=test_points)
    varying_factors(grid)
    generator = torch.Generator().manual_seed(seed)
    train_codes, train_factors = sample_codes(encode, grid, train_points, generator)
    test_codes, test_factors = sample_codes(encode, grid, test_points, generator)
    at_least(2, c_dim=train_codes.shape[1])

    accuracy = np.zeros((train_codes.shape[1], len(grid.sizes)))
    for dim, factor in np.ndindex(accuracy.shape):
        classes, labels = np.unique(train_factors[:, factor], return_inverse=True)
        slopes, intercepts = linear_svm(train_codes[:, dim], labels)
        scores = test_codes[:, [dim]] * slopes + intercepts
        predicted = (scores[:, 0] > 0).astype(int) if len(classes) == 2 else scores.argmax(axis=1)
        accuracy[dim, factor] = (classes[predicted] == test_factors[:, factor]).mean()
    second, first = np.sort(accuracy, axis=0)[-2:]
    variance = (first * (1 - first) + second * (1 - second)) / test_points
    return MetricResult(
        "sap",
        (first - second).mean(),
        f"disentanglement_lib: linear SVM, {train_points} train + {test_points} test points",
        train_points + test_points,
        seed,
        confidence=np.sqrt(variance.sum()) / len(variance),
        details={"accuracy": accuracy},
    )


def linear_svm(x, labels, penalty=0.01):
    """Linear SVM of numbers `x` (N,) for `labels` 0 to K - 1 (N,), each of which occurs: slopes and intercepts, (K,), of class against rest.

    Each line minimises (slope^2 + intercept^2) / 2 + `penalty` times the sum of squared hinge losses, those of the class weighted by
    N / (K its count). Two classes have one line, (1,), positive for class 1, with both classes weighted so. These are the minima that
    scikit-learn's `LinearSVC` seeks with balanced class weights, here by Newton's method for all classes at once: of numbers in order, those
    that have a loss are all before or all after a threshold, and sums over them are differences of cumulative sums.
    """
    order = np.argsort(x, kind="stable")
    x, labels = x[order], labels[order]
    counts = np.bincount(labels)
    classes = np.array([1]) if len(counts) == 2 else np.arange(len(counts))
    balanced = penalty * len(x) / (len(counts) * counts)
    weights = balanced[classes], balanced[:1] if len(counts) == 2 else np.full(len(classes), penalty)

    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    whole, grouped = (_cumulative(rows) for rows in (powers, powers[np.argsort(labels, kind="stable")]))
    before = _cumulative(labels[:, None] == classes)
    starts = (counts.cumsum() - counts)[classes]

    def sums(ranks):
        """Of the points before `ranks` (K,) in the order of x: count, sum and sum of squares, (K, 3), in the class and in the rest."""
        own = grouped[starts + before[ranks, np.arange(len(classes))]] - grouped[starts]
        return own, whole[ranks] - own

    total = sums(np.full(len(classes), len(x)))

    def objective(lines):
        """Value (K,), gradient (K, 2) and Hessian (K, 2, 2) at lines (K, 2)."""
        value, gradient, hessian = (lines**2).sum(axis=1) / 2, lines.copy(), np.tile(np.eye(2), (len(lines), 1, 1))
        for side, sign in enumerate((1, -1)):
            slope, intercept = sign * lines.T  # a point has a loss where slope x + intercept < 1
            with np.errstate(divide="ignore", invalid="ignore"):
                below = sums(np.searchsorted(x, (1 - intercept) / slope))[side]
            n, first, second = weights[side] * np.where(np.signbit(slope), (total[side] - below).T, below.T)
            linear = np.stack([first, n], axis=1)
            square = np.stack([np.stack([second, first], axis=1), linear], axis=2)
            product = np.einsum("kij,kj->ki", square, sign * lines)
            value += n + ((product - 2 * linear) * sign * lines).sum(axis=1)
            gradient += 2 * sign * (product - linear)
            hessian += 2 * square
        return value, gradient, hessian

    lines = np.zeros((len(classes), 2))
    for _ in range(100):
        value, gradient, hessian = objective(lines)
        steps = -np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        if np.abs(steps).max() <= 1e-9 * np.abs(lines).max():
            break
        for _ in range(40):  # a step that does not lead down, across a threshold, is halved
            up = objective(lines + steps)[0] > value + 1e-4 * (gradient * steps).sum(axis=1) + 1e-12 * value
            if not up.any():
                break
            steps[up] /= 2
        lines += steps
    return lines.T


def _cumulative(rows):
    """Sums over the first 0, 1, ... N of `rows` (N, D): (N + 1, D)."""
    return np.concatenate([np.zeros_like(rows[:1], dtype=int if rows.dtype == bool else rows.dtype), rows.cumsum(axis=0)])
