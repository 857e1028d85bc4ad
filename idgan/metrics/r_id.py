"""R_ID (Eq. 4): how much of the code c the frozen encoder reads back from G(s, c), in nats."""

from math import hypot, log, pi

import numpy as np
import torch

from idgan.errors import InvalidInputError, check_integer
from idgan.metrics.codes import code_array
from idgan.metrics.result import MetricResult

__all__ = ["aggregated_posterior_entropy", "mixture_log_density", "r_id"]

NEAR_NATS = 1.0
"""An entropy this close to its ceiling tells of the size of the bank."""


def r_id(log_q, entropy, *, seed):
    """R_ID = E[log q(c | G(s, c))] + H(q(c)), a lower bound on I(c; G(s, c)) with c from the aggregated posterior.

    Args:
        log_q: (N,) log-likelihood of each sampled c under the frozen encoder's posterior of G(s, c), summed over dimensions.
        entropy: MetricResult of `aggregated_posterior_entropy`; how it was estimated travels with the value.
        seed: the seed that c and s were drawn from.

    Returns:
        MetricResult in nats; confidence joins the standard errors of both terms.

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
        confidence=hypot(error, entropy.confidence),
        details={"log_q": log_q.mean(), "log_q_error": error, "entropy": entropy.to_dict()},
    )


def aggregated_posterior_entropy(mean, logvar, *, samples=10_000, seed):
    """Monte Carlo estimate of H(q(c)), q(c) = 1/M sum_i N(c; mean_i, exp(logvar_i)), from a bank of M posteriors (M, c_dim).

    Each of the `samples` draws picks a component, samples it, and scores -log of the whole mixture's density. Fewer components
    than the data set has images leave gaps between posteriors, so the value is low; it can never exceed log M + the mean entropy
    of a component (`details["ceiling"]`), and one within `NEAR_NATS` of that ceiling (`details["saturated"]`) calls for a larger bank. The
    protocol tells both. A bank of one posterior is no sample of others: it is never called saturated.

    Returns:
        MetricResult in nats; confidence is the standard error of the mean over samples.
    """
    check_integer(2, samples=samples)
    mean = torch.from_numpy(code_array(mean, "mean"))
    logvar = torch.from_numpy(code_array(logvar, "logvar", rows=len(mean)))
    if mean.shape != logvar.shape:
        raise InvalidInputError(f"mean {tuple(mean.shape)} and logvar {tuple(logvar.shape)} differ in shape")
    rng = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(mean), (samples,), generator=rng)
    noise = torch.randn(samples, mean.shape[1], generator=rng, dtype=mean.dtype)
    c = mean[chosen] + (logvar[chosen] / 2).exp() * noise

    surprise = -mixture_log_density(c, mean, logvar).numpy()
    ceiling = log(len(mean)) + (logvar + log(2 * pi) + 1).sum(dim=1).mean().item() / 2
    saturated = len(mean) > 1 and ceiling - surprise.mean() < NEAR_NATS
    found = f"{surprise.mean():.3f} of at most {ceiling:.3f} nats{', too near to it: a larger bank would give more' if saturated else ''}"
    return MetricResult(
        "aggregated_posterior_entropy",
        surprise.mean(),
        f"Monte Carlo, {samples} samples of the mixture of {len(mean)} posteriors, {found}",
        samples,
        seed,
        confidence=surprise.std(ddof=1) / np.sqrt(samples),
        details={"components": len(mean), "ceiling": ceiling, "saturated": saturated},
    )


def mixture_log_density(c, mean, logvar):
    """log 1/M sum_i N(c; mean_i, exp(logvar_i)), (N,), of codes c (N, c_dim) under a bank of M posteriors (M, c_dim).

    The square is expanded so that all N x M terms are two matrix products, some ten million terms at a time; float64 keeps it exact.
    """
    c, mean, logvar = c.double(), mean.double(), logvar.double()
    precision = (-logvar).exp()
    scaled = mean * precision
    constant = -((mean * scaled + logvar + log(2 * pi)).sum(dim=1)) / 2 - log(len(mean))
    parts = c.split(max(1, 10_000_000 // len(mean)))
    return torch.cat(
        [(constant + part @ scaled.T - part.square() @ precision.T / 2).logsumexp(dim=1) for part in parts]
    )
