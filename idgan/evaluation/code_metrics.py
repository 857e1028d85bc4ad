"""Metrics of the code: how disentangled it is, and how well it can be read from generated images."""

import math
import warnings
from collections.abc import Iterable
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from idgan import metrics
from idgan.errors import InvalidInputError
from idgan.evaluation.metric import register_metric
from idgan.evaluation.subject import MAX_SAMPLES, Subject
from idgan.images import encoder_view
from idgan.metrics import MetricResult
from idgan.networks import Posterior
from idgan.rng import seeded_rng

__all__ = ["FreshEncoder", "check_gilbo_options"]


@register_metric("fvm", needs_factors=True, default=True, part="encoder")
def fvm(subject: Subject) -> MetricResult:
    """FactorVAE metric by the paper's protocol"""
    return subject.on_grid(metrics.factor_vae_metric, protocol="paper", variance_points=subject.variance_points)


@register_metric("fvm-dlib", needs_factors=True, default=True, part="encoder")
def fvm_dlib(subject: Subject) -> MetricResult:
    """FactorVAE metric by the protocol of disentanglement_lib"""
    return subject.on_grid(metrics.factor_vae_metric, protocol="disentanglement_lib")


@register_metric("mig", needs_factors=True, default=True, part="encoder")
def mig(subject: Subject) -> MetricResult:
    """mutual information gap"""
    return subject.on_grid(metrics.mutual_information_gap)


@register_metric("sap", needs_factors=True, part="encoder", extra="metrics")
def sap(subject: Subject) -> MetricResult:
    """separated attribute predictability"""
    return subject.on_grid(metrics.separated_attribute_predictability)


@register_metric("beta-vae", needs_factors=True, part="encoder", extra="metrics")
def beta_vae(subject: Subject) -> MetricResult:
    """beta-VAE metric"""
    return subject.on_grid(metrics.beta_vae_metric)


@register_metric("dci", needs_factors=True, part="encoder", extra="metrics")
def dci(subject: Subject) -> MetricResult:
    """disentanglement, completeness and informativeness (takes minutes)"""
    return subject.on_grid(metrics.dci, progress=subject.progress)


@register_metric("alignment", reads_data=False, by_prior=True, default=True, part="encoder")
def alignment(subject: Subject) -> MetricResult:
    """mean absolute difference between c and the encoder's mean of G(s, c)"""
    c, posterior = subject.read_back
    return metrics.code_alignment(posterior.mean, c, active=subject.sampler.active.cpu(), seed=subject.seed)


@register_metric("r_id", reads_data=False, by_prior=True, default=True, part="encoder")
def r_id(subject: Subject) -> MetricResult:
    """lower bound on the mutual information of c and G(s, c), by the frozen encoder (Eq. 4), in nats"""
    sampler, seed = subject.sampler, subject.seed
    c, posterior = subject.read_back
    if subject.prior == "aggregated" and sampler.has_bank:
        entropy = metrics.aggregated_posterior_entropy(sampler.bank.mean, sampler.bank.logvar, seed=seed)
        if entropy.details["saturated"]:
            warnings.warn(f"the entropy behind r_id is too low: {entropy.protocol}", stacklevel=2)
    else:
        value = sampler.c_dim * (math.log(2 * math.pi) + 1) / 2
        entropy = MetricResult("entropy", value, "of N(0, I), exact", len(c), seed, confidence=0.0)
    return metrics.r_id(posterior.log_prob(c), entropy, seed=seed)


@register_metric("gilbo", reads_data=False, by_prior=True)
def gilbo(subject: Subject) -> MetricResult:
    """as r_id, but by a newly trained encoder (takes tens of minutes)"""
    sampler = subject.sampler
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.set_rng_state(seeded_rng(subject.seed).get_state())
        encoder = FreshEncoder(sampler.config.vae).float()
    encoder.to(sampler.device)

    def sample(n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        c, s = sampler.codes(n, int(torch.randint(2**31, (), generator=rng, device="cpu")), subject.prior)
        return sampler(c, s), c

    def log_prior(c: Tensor) -> Tensor:
        if subject.prior == "normal" or not sampler.has_bank:
            return Normal(c.new_zeros(()), c.new_ones(())).log_prob(c).sum(1)
        return metrics.mixture_log_density(c.cpu(), sampler.bank.mean, sampler.bank.logvar).to(c.device)

    options = {"samples": min(subject.samples, MAX_SAMPLES), "progress": subject.progress, **subject.gilbo_options}
    return metrics.gilbo(sample, encoder, log_prior, seed=subject.seed, **options)


class FreshEncoder(nn.Module):
    """An encoder of the shape `config` with new weights: images (N, C, H, H) in [0, 1] -> `Posterior`."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.vae = config.build()
        if hasattr(self.vae, "decoder"):
            del self.vae.decoder

    def forward(self, x: Tensor) -> Posterior:
        return self.vae.encode(encoder_view(x, self.vae.config.resolution))


def check_gilbo_options(options: Iterable[str]) -> None:
    """Check the names of options of `idgan.metrics.gilbo`.

    Raises:
        InvalidInputError: names the first unknown option and all known ones.
    """
    known = [name for name, item in signature(metrics.gilbo).parameters.items() if item.kind is item.KEYWORD_ONLY]
    known = [name for name in known if name not in ("seed", "progress")]
    for name in options:
        if name not in known:
            raise InvalidInputError(f"gilbo has no option {name!r}; known: {', '.join(known)}")
