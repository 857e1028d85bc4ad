"""`idgan.evaluate`: measure a model by its name."""

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from idgan.data import Dataset, check_dataset, open_dataset
from idgan.errors import DataError
from idgan.evaluation.extractors import FeatureExtractor
from idgan.evaluation.measure import DEFAULT_SAMPLES, METRICS, any_reads_data, measure
from idgan.evaluation.results import check_output, measure_into
from idgan.metrics import MetricResult
from idgan.registry import load_plugins
from idgan.sampler import Sampler
from idgan.zoo.models import ResolvedCheckpoint, load, resolve

__all__ = ["evaluate", "iter_results", "open_data"]

PathLike = str | os.PathLike[str]


def evaluate(
    model: str | Path | ResolvedCheckpoint | Sampler,
    *,
    data: PathLike | Dataset | None = None,
    metrics: str | Iterable[str] | None = None,
    samples: int = DEFAULT_SAMPLES,
    priors: str | Sequence[str] = ("aggregated",),
    extractor: str | FeatureExtractor | None = None,
    seed: int = 0,
    repeats: int = 1,
    gilbo_options: Mapping[str, Any] | None = None,
    variance_points: int | None = None,
    out: PathLike | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
) -> list[MetricResult]:
    """Measure a model.

    Args:
        model: what `idgan.load` takes, a `ResolvedCheckpoint`, or a `Sampler`.
        data: the files of the checkpoint's data set (a directory, a file or "hf:org/name"), or a `Dataset`. None opens
            the checkpoint's data set at its usual place. If that fails and `metrics` is None, only metrics that need no
            data are measured, with a warning.
        metrics: names in `idgan.evaluation.METRICS`. None takes the default metrics for the data.
        samples: generated images behind a Fréchet distance, and real ones.
        priors: distributions of c, from "aggregated" and "normal".
        extractor: features of fid and kid: a name in `idgan.evaluation.EXTRACTORS`, or a `FeatureExtractor`.
        seed: seed of all random numbers.
        repeats: number of seeds, from `seed` on, over which metrics of factors (FVM, MIG, ...) are averaged.
        gilbo_options: options of `idgan.metrics.gilbo`.
        variance_points: random points behind the global variance of fvm. None takes the whole grid, as in the paper.
        out: a JSON file that keeps the results. It is written after each metric. Results that it already holds are not
            measured again.
        device: "auto" (CUDA if available) or a PyTorch device. A `Sampler` stays on its own device.
        progress: show progress.

    Returns:
        A `MetricResult` for each metric and, where it depends on it, each prior.

    Raises:
        UnknownModelError, NotTrainedError, CheckpointError, HubError: as in `idgan.load`.
        DataError: the data set is missing or damaged.
        InvalidInputError: an argument is unknown or out of range, or `out` cannot be written.
        MissingDependencyError: a metric needs a library that is not installed.
    """
    return list(
        iter_results(
            model,
            data=data,
            metrics=metrics,
            samples=samples,
            priors=priors,
            extractor=extractor,
            seed=seed,
            repeats=repeats,
            gilbo_options=gilbo_options,
            variance_points=variance_points,
            out=out,
            device=device,
            progress=progress,
        )
    )


def iter_results(
    model: str | Path | ResolvedCheckpoint | Sampler,
    *,
    data: PathLike | Dataset | None = None,
    metrics: str | Iterable[str] | None = None,
    out: PathLike | None = None,
    device: str | torch.device = "auto",
    **options: Any,
) -> Iterator[MetricResult]:
    """Yield the results of `evaluate` one by one. `options`: its other arguments."""
    load_plugins()
    if metrics is not None:
        metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    reads_data = metrics is None or any_reads_data(METRICS[name] for name in metrics)
    if out is not None:
        out = os.path.expanduser(out)
        check_output(out)
    if isinstance(model, Sampler):
        sampler, found = model, None
    else:
        found = resolve(model)
        sampler = load(found, device=device)
    required = metrics is not None or data is not None
    dataset = _open_if_there(sampler, data, required) if reads_data else None
    if out is None:
        yield from measure(sampler, dataset, metrics, **options)
    else:
        name = str(sampler.info.get("name", "unnamed"))
        sha256 = _sampler_sha256(sampler) if found is None else found.sha256
        yield from measure_into(out, name, sha256, sampler, dataset, metrics, **options)


def open_data(sampler: Sampler, data: PathLike | Dataset | None = None) -> Dataset:
    """The data set to measure `sampler` on: `data` as in `evaluate`, by default the one it was trained on.

    Raises:
        DataError: the data set is unknown, missing or damaged.
    """
    if data is not None and not isinstance(data, (str, os.PathLike)):
        return check_dataset(data)
    name = sampler.info.get("data")
    if name is None:
        raise DataError("the model does not name the data set it was trained on; pass a Dataset object")
    return open_dataset(str(name), None if data is None else os.path.expanduser(data))


def _open_if_there(sampler: Sampler, data: PathLike | Dataset | None, required: bool) -> Dataset | None:
    """The data set to measure on. None, with a warning, if it is missing and not `required`."""
    try:
        return open_data(sampler, data)
    except DataError as error:
        if required:
            raise
        warnings.warn(f"only metrics that need no data set are measured: {error}", stacklevel=4)
        return None


def _sampler_sha256(sampler: Sampler) -> str:
    """Hex sha256 of the weights and the bank of `sampler`."""
    digest = hashlib.sha256()
    tensors = {**sampler.state_dict(), "bank.mean": sampler.bank.mean, "bank.logvar": sampler.bank.logvar}
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
