"""Measuring a sampler: which metrics apply, and what each needs of the model and its data."""

import torch
from tqdm import tqdm

from idgan.data import FactorGrid
from idgan.errors import InvalidInputError
from idgan.images import encoder_view
from idgan.metrics import (
    aggregated_posterior_entropy,
    code_alignment,
    factor_vae_metric,
    mutual_information_gap,
    r_id,
)

__all__ = ["METRICS", "coarsened", "evaluate", "mean_codes"]

BATCH = 1024


@torch.no_grad()
def mean_codes(vae, source, indices, device):
    """Posterior means (N, c_dim) of the images at `indices` of `source`, on the CPU."""
    parts = []
    for part in indices.split(BATCH):
        x = encoder_view(source.images(part.to(device), torch.Generator().manual_seed(int(part[0]))), vae.config.resolution)
        parts.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).mean.cpu())
    return torch.cat(parts)


def _fvm_paper(sampler, codes, seed):
    return factor_vae_metric(codes, codes.grid, protocol="paper", seed=seed)


def _fvm_disentanglement_lib(sampler, codes, seed):
    return factor_vae_metric(codes, codes.grid, protocol="disentanglement_lib", seed=seed)


def _mig(sampler, codes, seed):
    return mutual_information_gap(codes, codes.grid, seed=seed)


@torch.no_grad()
def _read_back(sampler, seed, samples=10_000):
    """Codes c drawn from the aggregated posterior, and the encoder's posterior of G(s, c)."""
    c, s = sampler.codes(samples, seed)
    posteriors = [
        sampler.vae.encode(encoder_view(sampler.sample(*pair), sampler.vae.config.resolution).to(sampler.dtype))
        for pair in zip(c.split(BATCH), s.split(BATCH))
    ]
    return c, posteriors


def _alignment(sampler, codes, seed):
    c, posteriors = _read_back(sampler, seed)
    return code_alignment(torch.cat([posterior.mean for posterior in posteriors]), c, live=sampler.live.cpu(), seed=seed)


def _r_id(sampler, codes, seed):
    c, posteriors = _read_back(sampler, seed)
    log_q = torch.cat([posterior.log_prob(part) for posterior, part in zip(posteriors, c.split(BATCH))])
    entropy = aggregated_posterior_entropy(sampler.bank.mean, sampler.bank.logvar, seed=seed)
    return r_id(log_q, entropy, seed=seed)


METRICS = {
    "fvm": _fvm_paper,
    "fvm-dlib": _fvm_disentanglement_lib,
    "mig": _mig,
    "alignment": _alignment,
    "r_id": _r_id,
}
"""Name -> function of (sampler, grid codes, seed)."""
NEED_FACTORS = ("fvm", "fvm-dlib", "mig")


def coarsened(grid, most=8):
    """The grid thinned to at most `most` evenly spaced values a factor: (a `FactorGrid`, the index of each of its points in `grid`)."""
    values = [torch.linspace(0, size - 1, min(size, most)).round().long() for size in grid.sizes]
    coarse = FactorGrid(tuple(map(len, values)), grid.names)
    positions = coarse.factors(torch.arange(len(coarse)))
    return coarse, grid.indices(torch.stack([value[position] for value, position in zip(values, positions.T)], dim=1))


class GridCodes:
    """Mean codes of every image of a source with factors, encoded once: called with grid indices (N,), gives (N, c_dim)."""

    def __init__(self, vae, source, device, progress=True):
        self.grid = source.factors
        indices = torch.arange(len(self.grid))
        parts = tqdm(indices.split(16 * BATCH), desc="encoding the data set", unit="x16k", leave=False, disable=None if progress else True)
        self.table = torch.cat([mean_codes(vae, source, part, device) for part in parts])

    def __call__(self, indices):
        return self.table[indices]


def evaluate(sampler, source, metrics=None, *, seed=0, progress=True):
    """Measure `sampler` on `source`: a list of `MetricResult`, one for each name in `metrics` (None: all that apply).

    The metrics of the code read a table of the codes of the whole data set, encoded once.

    Raises:
        InvalidInputError: an unknown metric, or one that needs ground-truth factors on a data set that has none.
    """
    has_factors = getattr(source, "factors", None) is not None
    if metrics is None:
        metrics = [name for name in METRICS if has_factors or name not in NEED_FACTORS]
    for name in metrics:
        if name not in METRICS:
            raise InvalidInputError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
        if name in NEED_FACTORS and not has_factors:
            raise InvalidInputError(f"{name} needs ground-truth factors, which this data set does not have")
    codes = GridCodes(sampler.vae, source, sampler.device, progress) if set(metrics) & set(NEED_FACTORS) else None
    return [METRICS[name](sampler, codes, seed) for name in metrics]
