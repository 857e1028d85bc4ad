"""A perfect sampler on the data set `Bands`, and helpers for the tests of evaluation."""

import pytest
from bands import bands, perfect  # noqa: F401


@pytest.fixture
def evaluate():
    """`evaluate(sampler, dataset, metrics, **options)`: the list of what `measure` yields."""
    from idgan.evaluation.measure import measure

    def evaluate(*arguments, **options):
        return list(measure(*arguments, **{"progress": False, **options}))

    return evaluate


@pytest.fixture
def add_metric(monkeypatch):
    """`add_metric(name, compute, **options)`: registers a metric for the duration of a test."""
    from idgan.evaluation.measure import METRICS, register_metric

    monkeypatch.setattr(METRICS, "_entries", dict(METRICS))
    return lambda name, compute, **options: register_metric(name, **options)(compute)


@pytest.fixture
def add_extractor(monkeypatch):
    """`add_extractor(name, make)`: registers a feature extractor for the duration of a test."""
    from idgan.evaluation.extractors import EXTRACTORS

    monkeypatch.setattr(EXTRACTORS, "_entries", dict(EXTRACTORS))

    def add(name, make):
        EXTRACTORS._entries[name] = make

    return add
