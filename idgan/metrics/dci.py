"""DCI: from how much each code dimension matters to the prediction of each factor."""

import numpy as np
import torch
from tqdm import tqdm

from idgan.errors import check_integer
from idgan.metrics.codes import sample_codes, sklearn, varying_factors
from idgan.metrics.result import MetricResult, versions

__all__ = ["completeness", "dci", "disentanglement"]


def dci(encode, factor_grid, *, seed, train_points=10_000, test_points=5_000, progress=False):
    """Disentanglement (the value), completeness and informativeness of mean codes `encode(indices)` (N, c_dim), c_dim >= 2.

    Gradient boosting learns each factor from the codes; its feature importances form a matrix (c_dim, F). The points are uniform draws
    from the factor_grid. On dSprites the full protocol takes minutes; fewer points are faster and score lower. `progress`: on a terminal, show a
    bar over factors.

    Returns:
        MetricResult in [0, 1], without confidence, which would take the same minutes again for every repeat. Details hold completeness,
        informativeness (mean accuracy over factors, train and test) and the matrix.

    Source: Eastwood & Williams 2018, section 2.
    """
    check_integer(2, train_points=train_points, test_points=test_points, factors=varying_factors(factor_grid))
    ensemble = sklearn("ensemble")
    rng = torch.Generator().manual_seed(seed)
    train_codes, train_factors = sample_codes(encode, factor_grid, train_points, rng)
    test_codes, test_factors = sample_codes(encode, factor_grid, test_points, rng)
    check_integer(2, c_dim=train_codes.shape[1])

    importance, train_accuracy, test_accuracy = [], [], []
    columns = list(zip(train_factors.T, test_factors.T))
    for train, test in tqdm(columns, desc="dci", unit="factor", leave=False, disable=None if progress else True):
        model = ensemble.GradientBoostingClassifier(random_state=seed).fit(train_codes, train)
        importance.append(model.feature_importances_)
        train_accuracy.append(model.score(train_codes, train))
        test_accuracy.append(model.score(test_codes, test))
    importance = np.stack(importance, axis=1)
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


def disentanglement(importance):
    """1 - entropy of a dimension's importances (D, F) over factors, in units of log F; mean weighted by total importance."""
    total = importance.sum(axis=1)
    shares = importance / np.where(total > 0, total, 1)[:, None]
    # x log x is 0 at 0; an unused dimension has no share of the average either.
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1) / np.log(importance.shape[1])
    return float(((1 - entropy) * total).sum() / max(total.sum(), np.finfo(float).tiny))


def completeness(importance):
    """The same, of a factor's importances over dimensions."""
    return disentanglement(importance.T)
