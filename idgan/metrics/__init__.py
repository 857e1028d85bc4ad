"""Metrics as functions of arrays and callables. Each returns a `MetricResult`."""

from idgan.metrics.beta_vae_metric import beta_vae_metric
from idgan.metrics.code_alignment import code_alignment
from idgan.metrics.dci import dci
from idgan.metrics.factor_vae_metric import factor_vae_metric
from idgan.metrics.frechet import FeatureStatistics, fid, fid_infinity, frechet_distance
from idgan.metrics.gilbo import gilbo
from idgan.metrics.kernel_distance import kid
from idgan.metrics.mig import mutual_information_gap
from idgan.metrics.r_id import aggregated_posterior_entropy, mixture_log_density, r_id
from idgan.metrics.result import MetricResult
from idgan.metrics.sap import separated_attribute_predictability

__all__ = [
    "FeatureStatistics",
    "MetricResult",
    "aggregated_posterior_entropy",
    "beta_vae_metric",
    "code_alignment",
    "dci",
    "factor_vae_metric",
    "fid",
    "fid_infinity",
    "frechet_distance",
    "gilbo",
    "kid",
    "mixture_log_density",
    "mutual_information_gap",
    "r_id",
    "separated_attribute_predictability",
]
