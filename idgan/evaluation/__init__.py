"""Measuring a sampler: metrics, feature extractors, and the file of results."""

import importlib

_HOMES = {
    "EXTRACTORS": "extractors",
    "Extractor": "extractors",
    "FeatureExtractor": "extractors",
    "METRICS": "measure",
    "Metric": "metric",
    "Subject": "subject",
    "open_extractor": "extractors",
    "register_extractor": "extractors",
    "register_metric": "measure",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:  # imported on first use: training needs grid_codes alone
    if name not in _HOMES:
        raise AttributeError(f"module 'idgan.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"idgan.evaluation.{_HOMES[name]}"), name)
