"""Measuring a sampler: which metrics apply, and what each needs of the model and its data."""

from functools import cached_property

import torch
from tqdm import tqdm

from idgan.data import FactorGrid
from idgan.errors import InvalidInputError
from idgan.images import at_once, encoder_view
from idgan.metrics import (
    aggregated_posterior_entropy,
    beta_vae_metric,
    code_alignment,
    dci,
    factor_vae_metric,
    mutual_information_gap,
    r_id,
    separated_attribute_predictability,
)
from idgan.networks import Posterior

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


class Subject:
    """What is measured: a sampler on its data, with the costly things that several metrics read made once, at the first use."""

    def __init__(self, sampler, source, seed, progress):
        self.sampler = sampler
        self.source = source
        self.seed = seed
        self.progress = progress

    @cached_property
    def codes(self):
        """`GridCodes` of the encoder."""
        return GridCodes(self.sampler.vae, self.source, self.sampler.device, self.progress)

    @cached_property
    @torch.no_grad()
    def read_back(self):
        """10,000 codes c of the aggregated posterior, and the encoder's `Posterior` of G(s, c), on the CPU."""
        vae = self.sampler.vae
        c, s = self.sampler.codes(10_000, self.seed)
        pairs = zip(*(code.split(at_once(self.sampler.resolution)) for code in (c, s)))
        views = (encoder_view(self.sampler.sample(*pair), vae.config.resolution) for pair in pairs)
        posteriors = [vae.encode(view.to(self.sampler.dtype)) for view in views]
        mean, logvar = (torch.cat([getattr(posterior, name) for posterior in posteriors]).cpu() for name in ("mean", "logvar"))
        return c.cpu(), Posterior(mean, logvar)

    def on_grid(self, metric, **options):
        """A metric of the code, from the table of the whole data set's codes."""
        return metric(self.codes, self.codes.grid, seed=self.seed, **options)

    def alignment(self):
        c, posterior = self.read_back
        return code_alignment(posterior.mean, c, live=self.sampler.live.cpu(), seed=self.seed)

    def r_id(self):
        c, posterior = self.read_back
        entropy = aggregated_posterior_entropy(self.sampler.bank.mean, self.sampler.bank.logvar, seed=self.seed)
        return r_id(posterior.log_prob(c), entropy, seed=self.seed)


METRICS = {
    "fvm": lambda subject: subject.on_grid(factor_vae_metric, protocol="paper"),
    "fvm-dlib": lambda subject: subject.on_grid(factor_vae_metric, protocol="disentanglement_lib"),
    "mig": lambda subject: subject.on_grid(mutual_information_gap),
    "sap": lambda subject: subject.on_grid(separated_attribute_predictability),
    "beta-vae": lambda subject: subject.on_grid(beta_vae_metric),
    "dci": lambda subject: subject.on_grid(dci),
    "alignment": Subject.alignment,
    "r_id": Subject.r_id,
}
"""Name -> function of a `Subject` that gives a `MetricResult`."""
NEED_FACTORS = ("fvm", "fvm-dlib", "mig", "sap", "beta-vae", "dci")
ON_REQUEST = ("sap", "beta-vae", "dci")
"""Not measured unless named: they need scikit-learn, and DCI takes minutes."""


def evaluate(sampler, source, metrics=None, *, seed=0, progress=True):
    """Measure `sampler` on `source`: a list of `MetricResult`, one for each name in `metrics` (None: all that apply, but for `ON_REQUEST`).

    Raises:
        InvalidInputError: an unknown metric, or one that needs ground-truth factors on a data set that has none.
        MissingDependencyError: a metric needs scikit-learn.
    """
    has_factors = getattr(source, "factors", None) is not None
    if metrics is None:
        metrics = [name for name in METRICS if name not in ON_REQUEST and (has_factors or name not in NEED_FACTORS)]
    for name in metrics:
        if name not in METRICS:
            raise InvalidInputError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
        if name in NEED_FACTORS and not has_factors:
            raise InvalidInputError(f"{name} needs ground-truth factors, which this data set does not have")
    subject = Subject(sampler, source, seed, progress)
    return [METRICS[name](subject) for name in metrics]
