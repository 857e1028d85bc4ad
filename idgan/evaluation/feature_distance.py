"""Fréchet and kernel distances between generated and real images. Features are streamed.

Statistics of real images are kept on disk. The images of the generator and of the decoder come from the same codes
and are compared with the same real images. The decoder's images keep their resolution. The extractor resizes them.
"""

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from idgan import metrics
from idgan.data import Dataset, content_key
from idgan.data.directory import data_directory
from idgan.errors import InvalidInputError, check_integer
from idgan.evaluation.extractors import FeatureExtractor, describe_extractor
from idgan.evaluation.metric import register_metric
from idgan.evaluation.subject import MAX_SAMPLES, Subject
from idgan.files import write_atomically
from idgan.images import default_batch_size
from idgan.metrics import FeatureStatistics, MetricResult
from idgan.metrics.result import installed
from idgan.progress import progress as progress_bar
from idgan.rng import make_rng

__all__ = ["real_features", "real_statistics", "statistics_directory"]

REAL = -4
"""Key of the random numbers that choose real images. No training step has it."""
PARTS = 10
"""Disjoint parts of the generated images. Their spread gives the confidence of a Fréchet distance."""
MIN_EXTRAPOLATED = 17
"""Fewest images that `fid_infinity` can fit its line to."""


# ------------------------------------------------------------------ distances


def frechet(subject: Subject, part: str) -> MetricResult:
    """Fréchet distance of the images of "generator" or "decoder". No set of features is held in memory."""
    check_integer(2, real_images=min(subject.samples, len(subject.dataset)))
    real, key = _statistics_of(subject)
    fake, seen = [FeatureStatistics() for _ in range(PARTS)], 0
    for features in generated_features(subject, part, subject.samples):
        for number, row in enumerate(range(min(PARTS, len(features))), start=seen):
            fake[number % PARTS].update(features[row::PARTS])
        seen += len(features)
    result = metrics.fid(real, fake, features=_protocol(subject, part), seed=subject.seed)
    return _named("FD", subject, part, result, real=key)


def frechet_infinity(subject: Subject, part: str) -> MetricResult:
    """Fréchet distance in the limit of infinitely many generated images. Their features (N, D) are held in memory."""
    check_integer(2, real_images=min(subject.samples, len(subject.dataset)))
    check_integer(MIN_EXTRAPOLATED, samples=subject.samples)
    real, key = _statistics_of(subject)
    fake = torch.cat(list(generated_features(subject, part, subject.samples)))
    smallest = min(5_000, max(2, subject.samples // 10))
    result = metrics.fid_infinity(real, fake, features=_protocol(subject, part), seed=subject.seed, smallest=smallest)
    return _named("FD_infinity", subject, part, result, real=key)


def kernel(subject: Subject, part: str) -> MetricResult:
    """Kernel distance of 4 to `MAX_SAMPLES` images on each side. A subset has 1,000, or half of the smaller side."""
    count = min(subject.samples, MAX_SAMPLES)
    check_integer(4, real_images=min(count, len(subject.dataset)), generated_images=count)
    real_batches = real_features(
        subject.dataset,
        _extractor(subject),
        samples=count,
        seed=subject.seed,
        device=subject.sampler.device,
        progress=subject.progress,
    )
    real = torch.cat(list(real_batches))
    fake = torch.cat(list(generated_features(subject, part, count)))
    size = min(1_000, len(real) // 2, len(fake) // 2)
    result = metrics.kid(real, fake, features=_protocol(subject, part), seed=subject.seed, subset_size=size)
    return _named("KD", subject, part, result)


for _name, _compute, _summary, _default in (
    ("fid", frechet, "Fréchet distance to real images, of the {part}'s images", True),
    ("fid-infinity", frechet_infinity, "fid extrapolated to infinitely many images, of the {part}'s images", False),
    ("kid", kernel, "kernel distance to real images, of the {part}'s images", False),
):
    for _part, _suffix in (("generator", ""), ("decoder", "-decoder")):
        register_metric(
            f"{_name}{_suffix}",
            summary=_summary.format(part=_part),
            on_features=True,
            by_prior=True,
            default=_default,
            part="decoder" if _part == "decoder" else None,
        )(partial(_compute, part=_part))


def _statistics_of(subject: Subject) -> tuple[FeatureStatistics, dict[str, Any]]:
    return real_statistics(
        subject.dataset,
        _extractor(subject),
        name=str(subject.sampler.info.get("data")),
        samples=subject.samples,
        seed=subject.seed,
        device=subject.sampler.device,
        progress=subject.progress,
        directory=statistics_directory(),
    )


def _extractor(subject: Subject) -> FeatureExtractor:
    if subject.extractor is None:
        raise InvalidInputError("this metric needs a feature extractor; register it with on_features=True")
    return subject.extractor


def _protocol(subject: Subject, part: str) -> str:
    return f"{part}, {describe_extractor(_extractor(subject))}"


def _named(short: str, subject: Subject, part: str, result: MetricResult, **details: Any) -> MetricResult:
    """`result` with its full name. Only distances on FID's own Inception features are called FID and KID."""
    extractor = _extractor(subject)
    name = result.name if extractor.title is None else f"{short}-{extractor.title or extractor.name}"
    name += "" if part == "generator" else f"-{part}"
    details = {"images": part, "extractor": f"{extractor.name} {extractor.version}", **details, **result.details}
    return replace(result, name=name, details=details, versions=result.versions | installed(*extractor.packages))


# ------------------------------------------------------------------ features


def generated_features(subject: Subject, part: str, count: int) -> Iterator[Tensor]:
    """Yield the features (n, D), on the CPU, of `count` images of the "generator" or the "decoder" in batches."""
    extractor = _extractor(subject)
    for images in subject.generated_images(count, part):
        yield _features(extractor, images)


def _features(extractor: FeatureExtractor, images: Tensor) -> Tensor:
    """Features (N, D) of `images` (N, C, H, W), on the CPU.

    Raises:
        InvalidInputError: the extractor returned something else.
    """
    features = extractor(images)
    if not torch.is_tensor(features) or features.ndim != 2 or len(features) != len(images):
        got = tuple(features.shape) if torch.is_tensor(features) else type(features).__name__
        raise InvalidInputError(f"extractor {extractor.name} must return ({len(images)}, D) features, got {got}")
    return features.detach().cpu()


def statistics_directory() -> Path:
    """Directory of the statistics of real images: `statistics` in the directory of prepared data."""
    return data_directory() / "statistics"


def real_features(
    dataset: Dataset,
    extractor: FeatureExtractor,
    *,
    samples: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Iterator[Tensor]:
    """Yield the features (n, D), on the CPU, of `samples` distinct images of `dataset`, or of all if it has fewer.

    `seed` chooses the images, and the noise of a stochastic data set.
    """
    rng = make_rng(seed, REAL)
    indices = torch.randperm(len(dataset), generator=rng, device="cpu")[:samples]
    with progress_bar(len(indices), "real images", "image", progress, leave=False) as bar:
        for part in indices.split(default_batch_size(dataset.resolution)):
            yield _features(extractor, dataset.images(part.to(device), rng))
            bar.update(len(part))


def real_statistics(
    dataset: Dataset,
    extractor: FeatureExtractor,
    *,
    name: str,
    samples: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: bool = False,
    directory: Path | None = None,
) -> tuple[FeatureStatistics, dict[str, Any]]:
    """The statistics of `real_features`, and their key. They are computed once for a key and kept in `directory`.

    The key is a dict of everything that the statistics depend on: name, size and content hash of the data set,
    extractor, preprocessing, samples and seed. A damaged file is computed again, with a warning.
    Nothing is kept if `directory` is None or cannot be written.
    """
    key: dict[str, Any] = {
        "data": name,
        "images": len(dataset),
        "resolution": dataset.resolution,
        "content": content_key(dataset),
        "extractor": f"{extractor.name} {extractor.version}",
        "preprocessing": extractor.preprocessing,
        "samples": min(samples, len(dataset)),
        "seed": seed,
    }
    key["sha256"] = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = directory / f"{key['sha256'][:32]}.safetensors" if directory else None
    if path and (kept := _read_statistics(path)):
        return kept, key
    statistics = FeatureStatistics()
    for features in real_features(dataset, extractor, samples=samples, seed=seed, device=device, progress=progress):
        statistics.update(features)
    if path:
        try:
            write_atomically(path, safetensors.numpy.save(statistics.to_arrays(), {"key": json.dumps(key)}))
        except OSError as error:
            warnings.warn(f"statistics of real images were not kept: {error}", stacklevel=2)
    return statistics, key


def _read_statistics(path: Path) -> FeatureStatistics | None:
    """The statistics in the file at `path`. None if it is missing or, with a warning, damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            return FeatureStatistics.from_arrays({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, InvalidInputError) as error:
        warnings.warn(f"{path} is damaged ({error}); the statistics are computed again", stacklevel=3)
        return None
