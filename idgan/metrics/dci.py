"""DCI: disentanglement, completeness and informativeness, from how important each code dimension is to each factor."""

import numpy as np

from idgan.data.factors import FactorGrid
from idgan.errors import check_integer
from idgan.metrics.codes import Encode, sample_codes, sklearn, sklearn_seed, varying_factors
from idgan.metrics.result import MetricResult, versions
from idgan.progress import progress as progress_bar
from idgan.rng import seeded_rng

__all__ = ["completeness", "dci", "disentanglement"]


def dci(
    encode: Encode,
    factor_grid: FactorGrid,
    *,
    seed: int,
    train_points: int = 10_000,
    test_points: int = 5_000,
    progress: bool = False,
) -> MetricResult:
    """Disentanglement (the value), completeness and informativeness of mean codes.

    Gradient boosting learns each factor from the codes. Its feature importances form a matrix (c_dim, F). The points
    are drawn uniformly from the grid. On dSprites the full protocol takes minutes. Fewer points are faster and score
    lower.

    Args:
        encode: maps long grid indices (N,) to mean codes (N, c_dim) with c_dim >= 2.
        progress: show how many factors are done.

    Returns:
        MetricResult in [0, 1] without confidence, because each repeat would take minutes. Details hold completeness,
        informativeness (mean accuracy over factors, train and test) and the matrix.

    Source: Eastwood & Williams 2018, section 2.
    """
    check_integer(2, train_points=train_points, test_points=test_points, factors=varying_factors(factor_grid))
    ensemble = sklearn("ensemble")
    rng = seeded_rng(seed)
    train_codes, train_factors = sample_codes(encode, factor_grid, train_points, rng)
    test_codes, test_factors = sample_codes(encode, factor_grid, test_points, rng)
    check_integer(2, c_dim=train_codes.shape[1])

    importances, train_accuracy, test_accuracy = [], [], []
    for train, test in progress_bar(list(zip(train_factors.T, test_factors.T)), "dci", "factor", progress, leave=False):
        model = ensemble.GradientBoostingClassifier(random_state=sklearn_seed(seed)).fit(train_codes, train)
        importances.append(model.feature_importances_)
        train_accuracy.append(model.score(train_codes, train))
        test_accuracy.append(model.score(test_codes, test))
    importance = np.stack(importances, axis=1)
    return MetricResult(
        "dci",
        disentanglement(importance),
        f"disentanglement_lib: gradient boosting, {train_points} train + {test_points} test points",
        train_points + test_points,
        seed,
        details={
            "completeness": completeness(importance),
            "informativeness_train": np.mean(train_accuracy),
            "informativeness_test": np.mean(test_accuracy),
            "importance": importance,
        },
        versions=versions("scikit-learn"),
    )


def disentanglement(importance: np.ndarray) -> float:
    """Mean over code dimensions of 1 - entropy of a dimension's importances (D, F) over factors, in units of log F.

    Each dimension is weighted by its total importance.
    """
    total = importance.sum(axis=1)
    shares = importance / np.where(total > 0, total, 1)[:, None]
    # x log x is 0 at 0. A dimension without importance has weight 0 in the mean, too.
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1) / np.log(importance.shape[1])
    return float(((1 - entropy) * total).sum() / max(total.sum(), np.finfo(float).tiny))


def completeness(importance: np.ndarray) -> float:
    """Mean over factors of 1 - entropy of a factor's importances (D, F) over code dimensions, in units of log D."""
    return disentanglement(importance.T)
