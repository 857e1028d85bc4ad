"""The beta-VAE metric: can a linear classifier tell which factor two images share?"""

from math import sqrt

import numpy as np
import torch

from idgan.errors import check_integer
from idgan.metrics.codes import CHUNK, encode_indices, sklearn, varying_factors
from idgan.metrics.result import MetricResult, versions

__all__ = ["beta_vae_metric"]


def beta_vae_metric(encode, factor_grid, *, seed, train_votes=10_000, eval_votes=5_000, pairs=64):
    """Held-out accuracy of logistic regression from mean |difference of codes| over `pairs` of points to the factor each pair shares.

    `encode(indices)` maps long grid indices (N,) to mean codes (N, c_dim). Entangled (rotated) codes can score 1: a weak test.

    Returns:
        MetricResult in [0, 1], confidence the binomial standard error; chance is 1 / F. Details hold the train accuracy.

    Source: Higgins et al. 2017, section 3; protocol of disentanglement_lib.
    """
    check_integer(1, train_votes=train_votes, eval_votes=eval_votes, pairs=pairs)
    linear_model = sklearn("linear_model")
    votes = train_votes + eval_votes
    rng = torch.Generator().manual_seed(seed)
    shared = torch.randint(varying_factors(factor_grid), (votes,), generator=rng)
    factors = factor_grid.sample(2 * votes * pairs, rng).view(votes, 2, pairs, -1)
    each = torch.arange(votes)
    factors[each, 1, :, shared] = factors[each, 0, :, shared]

    features = []
    for part in factors.split(max(1, CHUNK // (2 * pairs))):
        codes = encode_indices(encode, factor_grid.indices(part.flatten(0, 2))).reshape(len(part), 2, pairs, -1)
        features.append(np.abs(codes[:, 0] - codes[:, 1]).mean(axis=1))
    features, labels = np.concatenate(features), shared.numpy()
    model = linear_model.LogisticRegression(max_iter=1000, random_state=seed).fit(
        features[:train_votes], labels[:train_votes]
    )
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
