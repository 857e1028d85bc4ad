"""R_ID (Eq. 4): how much of the code c the frozen encoder reads back from G(s, c), in nats."""

from math import hypot, log, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult
from idgan.rng import seeded_rng

__all__ = ["aggregated_posterior_entropy", "mixture_log_density", "r_id"]

SATURATION_NATS = 1.0
"""An entropy within this distance of its ceiling is limited by the size of the bank."""
MAX_TERMS = 10_000_000
"""Most pairs of a code and a posterior in one matrix product."""


def r_id(log_q: Any, entropy: MetricResult, *, seed: int) -> MetricResult:
    """R_ID = E[log q(c | G(s, c))] + H(q(c)), a lower bound on I(c; G(s, c)) with c from the aggregated posterior.

    Args:
        log_q: (N,) log-likelihood of each sampled c under the frozen encoder's posterior of G(s, c), summed over
            dimensions.
        entropy: result of `aggregated_posterior_entropy`. Its protocol becomes part of this result's protocol.
        seed: the seed that c and s were drawn with.

    Returns:
        MetricResult in nats. The confidence joins the standard errors of both terms.

    Source: Eq. 4.
    """
    log_q = code_array(torch.as_tensor(log_q)[:, None], "log_q")[:, 0]
    check_integer(2, samples=len(log_q))
    error = log_q.std(ddof=1) / len(log_q) ** 0.5
    return MetricResult(
        "r_id",
        log_q.mean() + entropy.value,
        f"mean log q over {len(log_q)} generated images + entropy ({entropy.protocol})",
        len(log_q),
        seed,
        confidence=hypot(error, entropy.confidence or 0.0),
        details={"log_q": log_q.mean(), "log_q_error": error, "entropy": entropy.to_dict()},
    )


def aggregated_posterior_entropy(mean: Any, logvar: Any, *, samples: int = 10_000, seed: int) -> MetricResult:
    """Monte Carlo estimate of the entropy of q(c) = 1/M sum_i N(c; mean_i, exp(logvar_i)).

    Each sample comes from a random component. The estimate averages -log of the mixture's density. A bank with fewer
    posteriors than the data set has images leaves gaps, so the value is too low. It cannot exceed log M + the mean
    entropy of a component, which details call "ceiling". A value within `SATURATION_NATS` of the ceiling is called
    "saturated" and asks for a larger bank. The protocol states both. A bank of one posterior is no sample, so it is
    never saturated.

    Args:
        mean, logvar: (M, c_dim) each, the bank of posteriors.
        samples: number of samples.

    Returns:
        MetricResult in nats. The confidence is the standard error of the mean over samples.
    """
    check_integer(2, samples=samples)
    mean = torch.from_numpy(code_array(mean, "mean"))
    logvar = torch.from_numpy(code_array(logvar, "logvar", rows=len(mean)))
    if mean.shape != logvar.shape:
        raise InvalidInputError(f"mean {tuple(mean.shape)} and logvar {tuple(logvar.shape)} differ in shape")
    rng = seeded_rng(seed)
    chosen = torch.randint(len(mean), (samples,), generator=rng, device="cpu")
    noise = torch.randn(samples, mean.shape[1], generator=rng, dtype=mean.dtype, device="cpu")
    c = mean[chosen] + (logvar[chosen] / 2).exp() * noise

    surprise = -mixture_log_density(c, mean, logvar).numpy()
    ceiling = log(len(mean)) + (logvar + log(2 * pi) + 1).sum(dim=1).mean().item() / 2
    saturated = len(mean) > 1 and ceiling - surprise.mean() < SATURATION_NATS
    found = f"{surprise.mean():.3f} of at most {ceiling:.3f} nats"
    found += ", limited by the size of the bank" if saturated else ""
    return MetricResult(
        "aggregated_posterior_entropy",
        surprise.mean(),
        f"Monte Carlo, {samples} samples of the mixture of {len(mean)} posteriors, {found}",
        samples,
        seed,
        confidence=surprise.std(ddof=1) / np.sqrt(samples),
        details={"components": len(mean), "ceiling": ceiling, "saturated": saturated},
    )


def mixture_log_density(c: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log 1/M sum_i N(c; mean_i, exp(logvar_i)), (N,) float64, of codes c (N, c_dim) under M posteriors (M, c_dim).

    The square is expanded, so that all N x M terms are two matrix products. float64 keeps this exact.
    """
    c, mean, logvar = c.double(), mean.double(), logvar.double()
    precision = (-logvar).exp()
    scaled = mean * precision
    constant = -((mean * scaled + logvar + log(2 * pi)).sum(dim=1)) / 2 - log(len(mean))
    parts = c.split(max(1, MAX_TERMS // len(mean)))
    return torch.cat(
        [(constant + part @ scaled.T - part.square() @ precision.T / 2).logsumexp(dim=1) for part in parts]
    )
