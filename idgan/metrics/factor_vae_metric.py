"""The FactorVAE metric (FVM): hold one factor fixed, and see which code dimension stops moving."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import CHUNK, encode_indices, sample_codes, varying_factors
from idgan.metrics.result import MetricResult

__all__ = ["FVM_PROTOCOLS", "factor_vae_metric"]


@dataclass(frozen=True)
class VoteProtocol:
    """How many votes of how many samples, and how the global variance is found; `variance_points` None means the whole factor_grid."""

    train_votes: int
    eval_votes: int
    vote_size: int
    variance_points: int | None
    min_variance: float

    def __str__(self):
        accuracy = "eval" if self.eval_votes else "train"
        votes = (
            f"{self.train_votes} train + {self.eval_votes} eval votes"
            if self.eval_votes
            else f"{self.train_votes} votes"
        )
        points = "the whole factor_grid" if self.variance_points is None else f"{self.variance_points} points"
        return f"{accuracy} accuracy, {votes} of {self.vote_size}; variance over {points}, dims under {self.min_variance:g} dropped"


FVM_PROTOCOLS = {
    "paper": VoteProtocol(train_votes=800, eval_votes=0, vote_size=100, variance_points=None, min_variance=0.05),
    # disentanglement_lib drops dims whose standard deviation is under 0.05.
    "disentanglement_lib": VoteProtocol(10_000, 5_000, vote_size=64, variance_points=10_000, min_variance=0.05**2),
}


def factor_vae_metric(encode, factor_grid, *, protocol="paper", seed, votes=None, variance_points=None):
    """Accuracy of the majority-vote classifier from "the code dimension that varies least" to "the factor held fixed".

    A vote draws a factor uniformly, fixes it at a random value, varies the others, and names the dimension whose variance, over
    its variance across the data set, is smallest. `encode(indices)` maps long grid indices (N,) to mean codes (N, c_dim).

    Args:
        protocol: "paper" (accuracy on the votes themselves) or "disentanglement_lib" (accuracy on held-out votes).
        votes: training votes, if not the protocol's.
        variance_points: random points behind the global variance, if not the protocol's.

    Returns:
        MetricResult in [0, 1], confidence the binomial standard error; chance is about 1 / F. With every dimension dropped it is 0.
        Details hold the (live dims, F) vote counts, the live dimensions, the global variance and both accuracies.

    Source: Kim & Mnih 2018, section 4.
    """
    if protocol not in FVM_PROTOCOLS:
        raise InvalidInputError(f"protocol={protocol!r}; expected one of {', '.join(FVM_PROTOCOLS)}")
    overrides = {"train_votes": votes, "variance_points": variance_points}
    plan = replace(FVM_PROTOCOLS[protocol], **{name: value for name, value in overrides.items() if value is not None})
    check_integer(1, votes=plan.train_votes)
    rng = torch.Generator().manual_seed(seed)

    variance = _global_variance(encode, factor_grid, plan.variance_points, rng)
    live = np.flatnonzero(variance >= plan.min_variance)
    details = {"live_dims": live, "variance": variance}
    total = plan.train_votes + plan.eval_votes

    def result(value, **more):
        scored = plan.eval_votes or plan.train_votes
        error = sqrt(value * (1 - value) / scored)
        samples = total * plan.vote_size
        return MetricResult(
            "fvm", value, f"{protocol}: {plan}", samples, seed, confidence=error, details=details | more
        )

    if len(live) == 0:
        return result(
            0.0, note=f"every code dimension has variance under {plan.min_variance:g}: the code is dead, scored 0"
        )
    factors, dims = _cast_votes(encode, factor_grid, total, plan.vote_size, variance, live, rng)
    counts = np.zeros((len(live), len(factor_grid.sizes)), dtype=np.int64)
    np.add.at(counts, (dims[: plan.train_votes], factors[: plan.train_votes]), 1)
    train_hits, eval_hits = np.split(counts.argmax(axis=1)[dims] == factors, [plan.train_votes])
    accuracy = {"train_accuracy": train_hits.mean()}
    if plan.eval_votes:
        accuracy["eval_accuracy"] = eval_hits.mean()
    return result(accuracy["eval_accuracy" if plan.eval_votes else "train_accuracy"], votes=counts, **accuracy)


def _global_variance(encode, factor_grid, points, rng):
    """Unbiased variance of each code dimension over `points` random factor_grid points, or over the whole factor_grid."""
    if points is None:
        return encode_indices(encode, torch.arange(len(factor_grid))).var(axis=0, ddof=1)
    check_integer(2, variance_points=points)
    return sample_codes(encode, factor_grid, points, rng)[0].var(axis=0, ddof=1)


def _cast_votes(encode, factor_grid, votes, vote_size, variance, live, rng):
    """The factor each vote held fixed and the position in `live` of the dimension it named, both (votes,)."""
    fixed = torch.randint(varying_factors(factor_grid), (votes,), generator=rng)
    factors = factor_grid.sample(votes * vote_size, rng).view(votes, vote_size, -1)
    each = torch.arange(votes)
    factors[each, :, fixed] = factors[each, :1, fixed]
    named = []
    for part in factors.split(max(1, CHUNK // vote_size)):
        codes = encode_indices(encode, factor_grid.indices(part.flatten(0, 1)))[:, live]
        spread = codes.reshape(len(part), vote_size, -1).var(axis=1, ddof=1) / variance[live]
        named.append(spread.argmin(axis=1))
    return fixed.numpy(), np.concatenate(named)
