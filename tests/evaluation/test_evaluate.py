"""`idgan.evaluate`: a model by name, file or object, on its own data or another."""

import json

import pytest
import torch

import idgan
from idgan.data import DATASETS
from idgan.errors import DataError, InvalidInputError, UnknownModelError
from idgan.files import sha256_of
from idgan.metrics import MetricResult
from idgan.networks import ConvGeneratorConfig, ModelConfig, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo import resolve
from idgan.zoo.evaluate import iter_results
from idgan.zoo.weights import write_checkpoint

QUICK = {"samples": 20, "device": "cpu", "progress": False}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint file with random weights, which names the data set "bands"."""
    info = {"name": "small", "data": "bands", "training": {"seed": 7}}
    return write_checkpoint(
        tmp_path / "small.safetensors", Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3)), info=info)
    )


@pytest.fixture
def _bands_registered(bands, monkeypatch):
    """`Bands` as the data set "bands"."""
    if isinstance(DATASETS, dict):
        monkeypatch.setitem(DATASETS, "bands", lambda path=None: bands)
    else:
        monkeypatch.setattr(DATASETS, "_entries", {**DATASETS, "bands": lambda path=None: bands})


@pytest.mark.usefixtures("_bands_registered")
def test_a_model_may_be_a_path_a_resolved_checkpoint_or_a_sampler(checkpoint, bands):
    metrics = ["mig", "alignment"]
    results = idgan.evaluate(checkpoint, metrics=metrics, **QUICK)
    assert [result.name for result in results] == ["mig", "code_alignment"]
    for model in str(checkpoint), resolve(str(checkpoint)), idgan.load(str(checkpoint), device="cpu"):
        assert idgan.evaluate(model, metrics=metrics, **QUICK) == results
    assert idgan.evaluate(checkpoint, data=bands, metrics=metrics, **QUICK) == results


def test_results_are_kept_in_a_file(checkpoint, bands, tmp_path, add_metric):
    calls = []

    def count(subject):
        calls.append(subject.seed)
        return MetricResult("count", len(calls), "counting", 1, subject.seed)

    add_metric("count", count, reads_data=False)
    out = tmp_path / "new" / "results.json"
    for _ in range(2):
        (result,) = idgan.evaluate(checkpoint, metrics="count", out=out, **QUICK)
    assert calls == [0] and result.value == 1
    stored = json.loads(out.read_text())
    assert (stored["name"], stored["sha256"]) == ("small", sha256_of(checkpoint))

    sampler = idgan.load(str(checkpoint), device="cpu")
    for _ in range(2):
        idgan.evaluate(sampler, metrics="count", out=tmp_path / "sampler.json", **QUICK)
    assert calls == [0, 0]
    with torch.no_grad():
        next(sampler.generator.parameters()).add_(1)
    with pytest.warns(UserWarning, match="held the results of another"):
        idgan.evaluate(sampler, metrics="count", out=tmp_path / "sampler.json", **QUICK)
    assert calls == [0, 0, 0]


def test_without_its_data_a_model_is_measured_as_far_as_possible(checkpoint):
    sampler = idgan.load(str(checkpoint), device="cpu")
    sampler.info["data"] = None
    with pytest.warns(UserWarning, match="only metrics that need no data set are measured: the model does not name"):
        results = idgan.evaluate(sampler, **QUICK)
    assert [result.name for result in results] == ["code_alignment", "r_id"]
    with pytest.raises(DataError, match="pass a Dataset object"):
        idgan.evaluate(sampler, metrics=["mig"], **QUICK)


def test_mistakes_are_found_before_the_work(checkpoint, tmp_path):
    with pytest.raises(InvalidInputError, match="no metric is called 'mug'"):
        idgan.evaluate("no-such-model", metrics=["mug"], **QUICK)
    with pytest.raises(InvalidInputError, match="is a directory"):
        idgan.evaluate("no-such-model", metrics=["mig"], out=tmp_path, **QUICK)
    with pytest.raises(UnknownModelError):
        idgan.evaluate("no-such-model", **QUICK)
    with pytest.raises(InvalidInputError, match="list is not a data set"):
        idgan.evaluate(checkpoint, data=[], metrics=["mig"], **QUICK)
    (tmp_path / "notes.json").write_text("precious")
    with pytest.raises(InvalidInputError, match="holds no results"):
        idgan.evaluate(checkpoint, metrics=["alignment"], out=tmp_path / "notes.json", **QUICK)
    assert (tmp_path / "notes.json").read_text() == "precious"


@pytest.mark.usefixtures("_bands_registered")
def test_results_come_one_by_one(checkpoint):
    results = iter_results(checkpoint, metrics=["alignment", "mig"], **QUICK)
    assert next(results).name == "code_alignment"
