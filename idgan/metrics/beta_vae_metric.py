"""The beta-VAE metric: accuracy of a linear classifier that predicts which factor two images share."""

from math import sqrt

import numpy as np
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import check_integer
from idgan.metrics.codes import CHUNK, Encode, encode_indices, sample_factors, sklearn, sklearn_seed, varying_factors
from idgan.metrics.result import MetricResult, versions
from idgan.rng import seeded_rng

__all__ = ["beta_vae_metric"]


def beta_vae_metric(
    encode: Encode,
    factor_grid: FactorGrid,
    *,
    seed: int,
    train_votes: int = 10_000,
    eval_votes: int = 5_000,
    pairs: int = 64,
) -> MetricResult:
    """Held-out accuracy of logistic regression that predicts the factor a set of pairs shares.

    The input is the mean absolute difference of codes over `pairs` of points. This is a weak test: entangled (rotated)
    codes can score 1.

    Args:
        encode: maps long grid indices (N,) to mean codes (N, c_dim).

    Returns:
        MetricResult in [0, 1]. Chance is 1 / F. The confidence is the binomial standard error. Details hold the train
        accuracy.

    Source: Higgins et al. 2017, section 3; protocol of disentanglement_lib.
    """
    check_integer(1, train_votes=train_votes, eval_votes=eval_votes, pairs=pairs)
    linear_model = sklearn("linear_model")
    votes = train_votes + eval_votes
    rng = seeded_rng(seed)
    shared = torch.randint(varying_factors(factor_grid), (votes,), generator=rng, device="cpu")
    factors = sample_factors(factor_grid, 2 * votes * pairs, rng).view(votes, 2, pairs, -1)
    each = torch.arange(votes, device="cpu")
    factors[each, 1, :, shared] = factors[each, 0, :, shared]

    differences = []
    for part in factors.split(max(1, CHUNK // (2 * pairs))):
        codes = encode_indices(encode, factor_grid.indices(part.flatten(0, 2))).reshape(len(part), 2, pairs, -1)
        differences.append(np.abs(codes[:, 0] - codes[:, 1]).mean(axis=1))
    features, labels = np.concatenate(differences), shared.numpy()
    model = linear_model.LogisticRegression(max_iter=1000, random_state=sklearn_seed(seed))
    model.fit(features[:train_votes], labels[:train_votes])
    accuracy = model.score(features[train_votes:], labels[train_votes:])
    return MetricResult(
        "beta_vae_metric",
        accuracy,
        f"disentanglement_lib: logistic regression, {train_votes} train + {eval_votes} eval votes of {pairs} pairs",
        2 * votes * pairs,
        seed,
        confidence=sqrt(accuracy * (1 - accuracy) / eval_votes),
        details={"train_accuracy": model.score(features[:train_votes], labels[:train_votes])},
        versions=versions("scikit-learn"),
    )
