"""The FactorVAE metric (FVM): accuracy of guessing the fixed factor from the code dimension that varies least."""

from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import CHUNK, Encode, encode_indices, sample_codes, sample_factors, varying_factors
from idgan.metrics.result import MetricResult
from idgan.rng import seeded_rng

__all__ = ["FVM_PROTOCOLS", "factor_vae_metric"]


@dataclass(frozen=True)
class VoteProtocol:
    """Numbers of votes and samples, and how the global variance is found.

    Attributes:
        train_votes: votes that the classifier is fitted to.
        eval_votes: held-out votes that are scored. 0 scores the train votes.
        vote_size: points of a vote.
        variance_points: random points behind the global variance. None takes the whole grid.
        min_variance: a dimension with less variance is dropped.
    """

    train_votes: int
    eval_votes: int
    vote_size: int
    variance_points: int | None
    min_variance: float

    def __str__(self) -> str:
        accuracy = "eval" if self.eval_votes else "train"
        votes = f"{self.train_votes} votes"
        if self.eval_votes:
            votes = f"{self.train_votes} train + {self.eval_votes} eval votes"
        points = "the whole grid" if self.variance_points is None else f"{self.variance_points} points"
        dropped = f"dims under {self.min_variance:g} dropped"
        return f"{accuracy} accuracy, {votes} of {self.vote_size}; variance over {points}, {dropped}"


FVM_PROTOCOLS = {
    "paper": VoteProtocol(train_votes=800, eval_votes=0, vote_size=100, variance_points=None, min_variance=0.05),
    # disentanglement_lib drops dimensions with a standard deviation under 0.05.
    "disentanglement_lib": VoteProtocol(10_000, 5_000, vote_size=64, variance_points=10_000, min_variance=0.05**2),
}


def factor_vae_metric(
    encode: Encode,
    factor_grid: FactorGrid,
    *,
    protocol: str = "paper",
    seed: int,
    votes: int | None = None,
    variance_points: int | None = None,
) -> MetricResult:
    """Accuracy of the majority-vote classifier from "the dimension that varies least" to "the factor held fixed".

    A vote draws a factor uniformly, fixes it at a random value and varies the others. It names the code dimension with
    the smallest ratio of variance within the vote to variance over the data set.

    Args:
        encode: maps long grid indices (N,) to mean codes (N, c_dim).
        protocol: "paper" (accuracy on the votes themselves) or "disentanglement_lib" (accuracy on held-out votes).
        votes: number of train votes. None takes the protocol's.
        variance_points: random points behind the global variance. None takes the protocol's.

    Returns:
        MetricResult in [0, 1]. Chance is about 1 / F. It is 0 if every dimension is dropped. The confidence is the
        binomial standard error. Details hold the vote counts (kept dims, F), the kept dimensions as "kept_dims", the
        global variance and both accuracies.

    Source: Kim & Mnih 2018, section 4.
    """
    if protocol not in FVM_PROTOCOLS:
        raise InvalidInputError(f"protocol must be one of {', '.join(FVM_PROTOCOLS)}, got {protocol!r}")
    plan = FVM_PROTOCOLS[protocol]
    if votes is not None:
        plan = replace(plan, train_votes=votes)
    if variance_points is not None:
        plan = replace(plan, variance_points=variance_points)
    check_integer(1, votes=plan.train_votes)
    rng = seeded_rng(seed)

    variance = _global_variance(encode, factor_grid, plan.variance_points, rng)
    kept = np.flatnonzero(variance >= plan.min_variance)
    details: dict[str, Any] = {"kept_dims": kept, "variance": variance}
    total = plan.train_votes + plan.eval_votes

    def result(value: float, **more: Any) -> MetricResult:
        error = sqrt(value * (1 - value) / (plan.eval_votes or plan.train_votes))
        samples = total * plan.vote_size
        return MetricResult(
            "fvm", value, f"{protocol}: {plan}", samples, seed, confidence=error, details=details | more
        )

    if len(kept) == 0:
        return result(0.0, note=f"every code dimension has variance under {plan.min_variance:g}, so the score is 0")
    factors, dims = _cast_votes(encode, factor_grid, total, plan.vote_size, variance, kept, rng)
    counts = np.zeros((len(kept), len(factor_grid.sizes)), dtype=np.int64)
    np.add.at(counts, (dims[: plan.train_votes], factors[: plan.train_votes]), 1)
    train_hits, eval_hits = np.split(counts.argmax(axis=1)[dims] == factors, [plan.train_votes])
    accuracy = {"train_accuracy": train_hits.mean()}
    if plan.eval_votes:
        accuracy["eval_accuracy"] = eval_hits.mean()
    return result(accuracy["eval_accuracy" if plan.eval_votes else "train_accuracy"], votes=counts, **accuracy)


def _global_variance(encode: Encode, factor_grid: FactorGrid, points: int | None, rng: torch.Generator) -> np.ndarray:
    """Unbiased variance (c_dim,) of each code dimension over `points` random grid points. None takes the whole grid."""
    if points is None:
        return encode_indices(encode, torch.arange(len(factor_grid), device="cpu")).var(axis=0, ddof=1)
    check_integer(2, variance_points=points)
    return sample_codes(encode, factor_grid, points, rng)[0].var(axis=0, ddof=1)


def _cast_votes(
    encode: Encode,
    factor_grid: FactorGrid,
    votes: int,
    vote_size: int,
    variance: np.ndarray,
    kept: np.ndarray,
    rng: torch.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The factor that each vote fixed, and the position in `kept` of the dimension it named, both (votes,)."""
    fixed = torch.randint(varying_factors(factor_grid), (votes,), generator=rng, device="cpu")
    factors = sample_factors(factor_grid, votes * vote_size, rng).view(votes, vote_size, -1)
    each = torch.arange(votes, device="cpu")
    factors[each, :, fixed] = factors[each, :1, fixed]
    named = []
    for part in factors.split(max(1, CHUNK // vote_size)):
        codes = encode_indices(encode, factor_grid.indices(part.flatten(0, 1)))[:, kept]
        spread = codes.reshape(len(part), vote_size, -1).var(axis=1, ddof=1) / variance[kept]
        named.append(spread.argmin(axis=1))
    return fixed.numpy(), np.concatenate(named)
