"""Measuring a sampler: which metrics apply, and what each needs of the model and its data."""

import math
import sys
import warnings
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import nn
from torch.distributions import Normal

from idgan import __version__
from idgan.data import DSprites, FactorGrid, content_key
from idgan.errors import InvalidInputError
from idgan.evaluation import feature_distance
from idgan.evaluation.extractors import open_extractor
from idgan.evaluation.feature_distance import MAX_SAMPLES
from idgan.evaluation.grid_codes import GridCodes
from idgan.images import default_batch_size, encoder_view
from idgan.metrics import (
    MetricResult,
    aggregated_posterior_entropy,
    beta_vae_metric,
    code_alignment,
    dci,
    factor_vae_metric,
    gilbo,
    mixture_log_density,
    mutual_information_gap,
    r_id,
    separated_attribute_predictability,
)
from idgan.networks import Posterior
from idgan.sampler import PRIORS

__all__ = ["DEFAULT_SAMPLES", "METRICS", "applicable", "coarsened", "evaluate", "measure", "reads_data"]

DEFAULT_SAMPLES = 50_000
"""Generated images, and real ones, behind a Fréchet distance: the paper's."""


def coarsened(grid, most=8):
    """The grid thinned to at most `most` evenly spaced values a factor: (a `FactorGrid`, the index of each of its points in `grid`)."""
    values = [torch.linspace(0, size - 1, min(size, most)).round().long() for size in grid.sizes]
    coarse = FactorGrid(tuple(map(len, values)), grid.names)
    positions = coarse.factors(torch.arange(len(coarse)))
    return coarse, grid.indices(torch.stack([value[position] for value, position in zip(values, positions.T)], dim=1))


class Subject:
    """What is measured: a sampler on its data, with the costly things that several metrics read made once, at the first use.

    `prior` is what c is drawn from ("aggregated" or "normal"), `samples` how many images a Fréchet distance sees, `extractor` the feature network
    of distances between images, on the sampler's device, `gilbo_options` what `idgan.metrics.gilbo` is told beside.
    """

    def __init__(
        self,
        sampler,
        dataset,
        seed,
        progress,
        *,
        prior="aggregated",
        samples=DEFAULT_SAMPLES,
        extractor=None,
        gilbo_options=None,
    ):
        self.sampler = sampler
        self.dataset = dataset
        self.seed = seed
        self.progress = progress
        self.prior = prior
        self.samples = samples
        self.extractor = extractor
        self.gilbo_options = gilbo_options or {}

    @cached_property
    def codes(self):
        """`GridCodes` of the encoder."""
        return GridCodes(self.sampler.vae, self.dataset, self.sampler.device, self.progress)

    def on_grid(self, metric, **options):
        """A metric of the code, from the table of the whole data set's codes."""
        return metric(self.codes, self.codes.factor_grid, seed=self.seed, **options)

    # -------------------------------------------------------------- does the encoder read c from G(s, c)?

    @cached_property
    @torch.no_grad()
    def read_back(self):
        """Up to `MAX_SAMPLES` codes c, and the encoder's `Posterior` of G(s, c), on the CPU."""
        vae = self.sampler.vae
        c, s = self.sampler.codes(min(self.samples, MAX_SAMPLES), self.seed, self.prior)
        pairs = zip(*(code.split(default_batch_size(self.sampler.resolution)) for code in (c, s)))
        views = (encoder_view(self.sampler.sample(*pair), vae.config.resolution) for pair in pairs)
        posteriors = [vae.encode(view.to(self.sampler.dtype)) for view in views]
        mean, logvar = (
            torch.cat([getattr(posterior, name) for posterior in posteriors]).cpu() for name in ("mean", "logvar")
        )
        return c.cpu(), Posterior(mean, logvar)

    def alignment(self):
        c, posterior = self.read_back
        return code_alignment(posterior.mean, c, active=self.sampler.active.cpu(), seed=self.seed)

    def r_id(self):
        c, posterior = self.read_back
        if self.prior == "aggregated":
            entropy = aggregated_posterior_entropy(self.sampler.bank.mean, self.sampler.bank.logvar, seed=self.seed)
            if entropy.details["saturated"]:
                warnings.warn(f"r_id rests on an entropy that is low: {entropy.protocol}", stacklevel=2)
        else:
            value = self.sampler.c_dim * (math.log(2 * math.pi) + 1) / 2
            entropy = MetricResult("entropy", value, "of N(0, I), exact", len(c), self.seed, confidence=0.0)
        return r_id(posterior.log_prob(c), entropy, seed=self.seed)

    def gilbo(self):
        """GILBO of the generator by an encoder of the VAE's shape with fresh weights, on what the VAE's encoder would see."""
        sampler = self.sampler
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            encoder = FreshEncoder(sampler.config.vae).to(sampler.device)

        def sample(n, rng):
            c, s = sampler.codes(n, int(torch.randint(2**31, (), generator=rng)), self.prior)
            return sampler(c, s), c

        def log_prior(c):
            if self.prior == "normal":
                return Normal(0.0, 1.0).log_prob(c).sum(1)
            return mixture_log_density(c.cpu(), sampler.bank.mean, sampler.bank.logvar).to(c.device)

        options = {
            "samples": min(self.samples, MAX_SAMPLES),
            "progress": self.progress and sys.stderr.isatty(),
            **self.gilbo_options,
        }
        return gilbo(sample, encoder, log_prior, seed=self.seed, **options)


class FreshEncoder(nn.Module):
    """An untrained encoder of the shape `config`: images (N, C, H, H) in [0, 1] -> `Posterior`."""

    def __init__(self, config):
        super().__init__()
        self.vae = config.build()
        del self.vae.decoder

    def forward(self, x):
        return self.vae.encode(encoder_view(x, self.vae.config.resolution))


METRICS = {
    "fvm": lambda subject: subject.on_grid(factor_vae_metric, protocol="paper"),
    "fvm-dlib": lambda subject: subject.on_grid(factor_vae_metric, protocol="disentanglement_lib"),
    "mig": lambda subject: subject.on_grid(mutual_information_gap),
    "sap": lambda subject: subject.on_grid(separated_attribute_predictability),
    "beta-vae": lambda subject: subject.on_grid(beta_vae_metric),
    "dci": lambda subject: subject.on_grid(dci, progress=subject.progress),
    "alignment": Subject.alignment,
    "r_id": Subject.r_id,
    "fid": partial(feature_distance.fid, images="generator"),
    "fid-decoder": partial(feature_distance.fid, images="decoder"),
    "fid-infinity": partial(feature_distance.fid_infinity, images="generator"),
    "fid-infinity-decoder": partial(feature_distance.fid_infinity, images="decoder"),
    "kid": partial(feature_distance.kid, images="generator"),
    "kid-decoder": partial(feature_distance.kid, images="decoder"),
    "gilbo": Subject.gilbo,
}
"""Name -> function of a `Subject` that gives a `MetricResult`."""
NEED_FACTORS = ("fvm", "fvm-dlib", "mig", "sap", "beta-vae", "dci")
ON_FEATURES = ("fid", "fid-decoder", "fid-infinity", "fid-infinity-decoder", "kid", "kid-decoder")
WITHOUT_DATA = ("alignment", "r_id", "gilbo")
"""These need the sampler alone; every other metric reads the data set."""
BY_PRIOR = (*WITHOUT_DATA, *ON_FEATURES)
"""These depend on what c is drawn from."""
RENDERED = ("dsprites", "color-dsprites", "noisy-dsprites")
"""Data sets whose images this package makes: their names say what they are."""
ON_REQUEST = ("sap", "beta-vae", "dci", "fid-infinity", "fid-infinity-decoder", "kid", "kid-decoder", "gilbo")
"""Not measured unless named: they need scikit-learn or say much the same as others, and DCI and GILBO take many minutes."""


def is_dsprites(dataset):
    """Whether `dataset` is dSprites or one of its variants, whose features come with the package."""
    return getattr(dataset, "factors", None) == DSprites.factors


def applicable(dataset, untrained=()):
    """The metrics that are measured on `dataset` (None: no data set) unless others are named. A Fréchet distance only where its features are
    surely at hand.

    `untrained` are parts of the VAE ("encoder", "decoder") that the method has no use of: what is about them is left out.
    """
    has_factors = getattr(dataset, "factors", None) is not None
    left_out = {*ON_REQUEST, *(() if has_factors else NEED_FACTORS), *(() if is_dsprites(dataset) else ON_FEATURES)}
    return [name for name in METRICS if name not in left_out and part_of_vae(name) not in untrained]


def reads_data(metrics=None):
    """Whether any of `metrics`, names (None: those `applicable`, which may), reads the data set."""
    return metrics is None or not set(metrics) <= set(WITHOUT_DATA)


def part_of_vae(metric):
    """What of the VAE a metric is about: "encoder", "decoder", or None."""
    if metric in ON_FEATURES:
        return "decoder" if metric.endswith("-decoder") else None
    return None if metric == "gilbo" else "encoder"


def evaluate(sampler, dataset, metrics=None, **options):
    """Measure `sampler` on `dataset`: the list of what `measure` yields."""
    return list(measure(sampler, dataset, metrics, **options))


def measure(
    sampler,
    dataset,
    metrics=None,
    *,
    seed=0,
    samples=DEFAULT_SAMPLES,
    priors=("aggregated",),
    extractor=None,
    gilbo_options=None,
    progress=True,
    known=(),
    or_more=False,
):
    """Yield a `MetricResult` for each name in `metrics` (None: those `applicable`) and, where it depends on it, each of `priors`, in order.
    A name that is there twice counts once. `dataset` may be None for metrics that read no data (`reads_data`).

    A result says what it answers under "request" in its details; one of a `normal` prior ends in "-normal".

    Args:
        samples: generated images of a Fréchet distance, and real ones (all, of a smaller set). `MAX_SAMPLES` bounds it for other metrics.
        priors: of "aggregated" (the aggregated posterior) and "normal" (N(0, I)): what c is drawn from.
        extractor: name of the features for fid and kid (`idgan.metrics.open_extractor`); None: dsprites-convnet for dSprites and its
            variants, else inception-v3.
        gilbo_options: of GILBO's stopping rule, such as {"samples": 2000, "patience": 2}; see `idgan.metrics.gilbo`.
        known: results, of the same sampler, that are given back instead of being measured again if they answer the same request.
        or_more: a known result of as many samples or more will do, of whatever seed and version.

    Raises:
        InvalidInputError: an unknown metric, prior or extractor, or a metric that needs ground-truth factors on a data set that has none,
            or one of a part that the checkpoint's method leaves untrained.
        MissingDependencyError: a metric needs a library that is not installed.
        HubUnreachableError: weights of the extractor are missing and cannot be downloaded.
    """
    untrained = sampler.untrained
    metrics = list(dict.fromkeys(applicable(dataset, untrained) if metrics is None else metrics))
    for name in metrics:
        if name not in METRICS:
            raise InvalidInputError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
        if dataset is None and reads_data([name]):
            raise InvalidInputError(
                f"{name} reads the data set, and none was given; without one there are {', '.join(WITHOUT_DATA)}"
            )
        if name in NEED_FACTORS and getattr(dataset, "factors", None) is None:
            raise InvalidInputError(f"{name} needs ground-truth factors, which this data set does not have")
        if (part := part_of_vae(name)) in untrained:
            raise InvalidInputError(
                f"{name} is about the {part}, which nothing has trained: the method is {sampler.record.method}"
            )
    if not priors or any(prior not in PRIORS for prior in priors):
        raise InvalidInputError(f"priors={priors!r}; expected one or more of {', '.join(PRIORS)}")
    if samples < 2:
        raise InvalidInputError(f"samples={samples}; expected 2 or more")
    extractor = extractor or ("dsprites-convnet" if is_dsprites(dataset) else "inception-v3")
    features = open_extractor(extractor).to(sampler.device) if any(name in ON_FEATURES for name in metrics) else None
    priors = tuple(dict.fromkeys(priors))
    options = {"samples": samples, "extractor": features, "gilbo_options": gilbo_options}
    subjects = {prior: Subject(sampler, dataset, seed, progress, prior=prior, **options) for prior in priors}
    for name in metrics:
        for prior in priors if name in BY_PRIOR else priors[:1]:
            request = request_of(name, subjects[prior])
            yield next((result for result in known if answers(result, request, or_more)), None) or answer(
                name, subjects[prior], request
            )


def request_of(name, subject):
    """What determines the result of metric `name`, beside the sampler: a flat dict."""
    request = {"metric": name, "seed": subject.seed, "data": str(subject.sampler.info.get("data"))}
    if reads_data([name]):
        request |= {"data_size": len(subject.dataset), "content": content_key(subject.dataset)}
    if name in BY_PRIOR:
        request |= {"prior": subject.prior, "samples": subject.samples}
    if name in ON_FEATURES:
        request["extractor"] = str(subject.extractor)
    if name == "gilbo":  # with lists for tuples, as a file gives them back
        request |= {
            option: list(value) if isinstance(value, tuple) else value
            for option, value in subject.gilbo_options.items()
        }
    return request | {"idgan": __version__}


def answers(result, request, or_more=False):
    """Whether `result` is that of `request`, or with `or_more` of another of as many samples or more, whatever its seed and version.

    Requests used to have no content, and a size even if no data was read. One without content is of the data set if the statistics of its real
    images say so, or if it is a metric of factors on images that this package makes.
    """
    stored = dict(result.details.get("request", {}))
    if stored.get("prior") == "posterior":  # its name in results of older versions
        stored["prior"] = "aggregated"
    if "content" not in request:
        stored.pop("data_size", None)
    elif "content" not in stored:
        rendered = stored.get("data") in RENDERED and request["metric"] in NEED_FACTORS
        stored["content"] = request["content"] if rendered else result.details.get("real", {}).get("content")
    if or_more and stored.get("samples", 0) >= request.get("samples", 0):
        stored |= {part: request[part] for part in ("seed", "samples", "idgan") if part in request}
    return stored == request


def answer(name, subject, request):
    """The result of metric `name`, with the prior in its name (if that is not the posterior) and in its protocol."""
    result = METRICS[name](subject)
    details = {"request": request, **result.details}
    if name not in BY_PRIOR:
        return replace(result, details=details)
    suffix, prior = ("", "the aggregated posterior") if subject.prior == "aggregated" else ("-normal", "N(0, I)")
    return replace(result, name=result.name + suffix, protocol=f"{result.protocol}; c from {prior}", details=details)
