"""SAP: how much better the best single code dimension predicts a factor than the second best."""

import numpy as np

from idgan.data.factors import FactorGrid
from idgan.errors import check_integer
from idgan.metrics.codes import Encode, sample_codes, sklearn, sklearn_seed, varying_factors
from idgan.metrics.result import MetricResult, versions
from idgan.rng import seeded_rng

__all__ = ["separated_attribute_predictability"]


def separated_attribute_predictability(
    encode: Encode, factor_grid: FactorGrid, *, seed: int, train_points: int = 10_000, test_points: int = 5_000
) -> MetricResult:
    """Gap between the two best test accuracies of a linear SVM on one code dimension, averaged over factors.

    All factors are treated as classes.

    Args:
        encode: maps long grid indices (N,) to mean codes (N, c_dim) with c_dim >= 2.

    Returns:
        MetricResult in [0, 1]. The confidence is the binomial standard error of the gaps. Details hold the accuracies
        (c_dim, F).

    Source: Kumar et al. 2018, section 3; protocol of disentanglement_lib (C = 0.01, balanced class weights).
    """
    check_integer(2, train_points=train_points, test_points=test_points)
    varying_factors(factor_grid)
    svm = sklearn("svm")
    rng = seeded_rng(seed)
    train_codes, train_factors = sample_codes(encode, factor_grid, train_points, rng)
    test_codes, test_factors = sample_codes(encode, factor_grid, test_points, rng)
    check_integer(2, c_dim=train_codes.shape[1])

    accuracy = np.zeros((train_codes.shape[1], len(factor_grid.sizes)))
    for dim, factor in np.ndindex(*accuracy.shape):
        model = svm.LinearSVC(C=0.01, class_weight="balanced", random_state=sklearn_seed(seed))
        model.fit(train_codes[:, [dim]], train_factors[:, factor])
        accuracy[dim, factor] = model.score(test_codes[:, [dim]], test_factors[:, factor])
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
        versions=versions("scikit-learn"),
    )
