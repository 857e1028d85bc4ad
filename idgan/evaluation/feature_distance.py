"""How far a model's images are from real ones: Fréchet and kernel distances on features, streamed; those of real images kept on disk.

A subject (`idgan.evaluation.measure.Subject`) says which sampler, data set, features, seed, prior and number of samples. "images" are those of
the "generator" or of the "decoder", on the same codes and against the same real ones; the decoder's stay 64x64 for the extractor to resize.
"""

import hashlib
import json
import warnings
from dataclasses import replace

import safetensors.numpy
import torch
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from idgan import metrics
from idgan.data import content_key
from idgan.data.directory import data_directory
from idgan.errors import check_integer
from idgan.files import write_atomically
from idgan.images import default_batch_size
from idgan.metrics import FeatureStatistics
from idgan.metrics.result import installed
from idgan.rng import make_rng

__all__ = ["MAX_SAMPLES", "fid", "fid_infinity", "kid", "real_features", "real_statistics", "statistics_directory"]

MAX_SAMPLES = 10_000
"""Of the metrics that need no more, whatever is asked for: alignment, r_id, kid, gilbo."""

REAL = -4
"""The keys of the draw of real images, which is thereby no draw that trained anything, and of the images that identify a data set."""
PARTS = 10
"""The generated images of a Fréchet distance are dealt out to so many parts, whose differences tell its confidence."""


# ------------------------------------------------------------------ distances


def fid(subject, images):
    """Fréchet distance, with neither set of features ever in memory: a `MetricResult`."""
    real, key = _real_statistics(subject)
    fake, seen = [FeatureStatistics() for _ in range(PARTS)], 0
    for features in made_features(subject, images, subject.samples):
        for number, row in enumerate(range(min(PARTS, len(features))), start=seen):
            fake[number % PARTS].update(features[row::PARTS])
        seen += len(features)
    return _named(
        "FD",
        subject,
        images,
        metrics.fid(real, fake, features=_described(subject, images), seed=subject.seed),
        real=key,
    )


def fid_infinity(subject, images):
    """Fréchet distance in the limit of infinitely many generated images, whose features are held in memory (samples x D float32)."""
    real, key = _real_statistics(subject)
    fake = torch.cat(list(made_features(subject, images, subject.samples)))
    smallest = min(5_000, max(2, subject.samples // 10))
    result = metrics.fid_infinity(
        real, fake, features=_described(subject, images), seed=subject.seed, smallest=smallest
    )
    return _named("FD_infinity", subject, images, result, real=key)


def kid(subject, images):
    """Kernel distance, of at most `MAX_SAMPLES` images on each side, and at least 4; a subset is 1,000 or half of the smaller side."""
    count = min(subject.samples, MAX_SAMPLES)
    real = torch.cat(list(real_features(subject.dataset, subject.extractor, samples=count, **_draw(subject))))
    fake = torch.cat(list(made_features(subject, images, count)))
    check_integer(4, real_images=len(real), generated_images=len(fake))
    size = min(1_000, len(real) // 2, len(fake) // 2)
    result = metrics.kid(real, fake, features=_described(subject, images), seed=subject.seed, subset_size=size)
    return _named("KD", subject, images, result)


def _real_statistics(subject):
    name, options = str(subject.sampler.info.get("data")), _draw(subject)
    return real_statistics(
        subject.dataset,
        subject.extractor,
        name=name,
        samples=subject.samples,
        directory=statistics_directory(),
        **options,
    )


def _draw(subject):
    return {"seed": subject.seed, "device": subject.sampler.device, "progress": subject.progress}


def _described(subject, images):
    return f"{images}, {subject.extractor}"


def _named(short, subject, images, result, **details):
    """`result` under its honest name: FID and KID are distances on FID's own Inception features, of others it says which."""
    extractor = subject.extractor
    name = f"{short}-{extractor.title}" if extractor.title else result.name
    details = {"images": images, "extractor": f"{extractor.name} {extractor.version}", **details, **result.details}
    name += "" if images == "generator" else f"-{images}"
    return replace(result, name=name, details=details, versions=result.versions | installed(*extractor.packages))


# ------------------------------------------------------------------ features


def made_features(subject, images, count):
    """Yield the features (n, D), on the CPU, of `count` images of the "generator" or the "decoder", a batch at a time."""
    sampler = subject.sampler
    parts = list(
        zip(
            *(
                code.split(default_batch_size(sampler.resolution))
                for code in sampler.codes(count, subject.seed, subject.prior)
            )
        )
    )
    for c, s in tqdm(
        parts, desc=f"images of the {images}", unit="batch", leave=False, disable=None if subject.progress else True
    ):
        with torch.no_grad():
            x = sampler(c, s) if images == "generator" else sampler.decode(c)
        yield subject.extractor(x).cpu()


def statistics_directory():
    """Where statistics of real features are kept: `statistics` beside prepared data."""
    return data_directory() / "statistics"


def real_features(dataset, extractor, *, samples, seed, device="cpu", progress=False):
    """Yield the features (n, D), on the CPU, of `samples` distinct images of the data set `dataset` (of all, if it has fewer), a batch at a time.

    Which images, and what is random about them, is drawn by `seed`.
    """
    rng = make_rng(seed, REAL)
    parts = torch.randperm(len(dataset), generator=rng)[:samples].split(default_batch_size(dataset.resolution))
    for part in tqdm(parts, desc="real images", unit="batch", leave=False, disable=None if progress else True):
        yield extractor(dataset.images(part.to(device), rng)).cpu()


def real_statistics(dataset, extractor, *, name, samples, seed, device="cpu", progress=False, directory=None):
    """(`FeatureStatistics` of `real_features`, their key), computed once for a key and kept in `directory` (None: none are).

    The key is a dict of all that they depend on: the `name` of the data set, the number of its images and a hash of some of them, extractor,
    preprocessing, samples and seed. A file that is damaged is made again; a directory that cannot be written brings a warning.
    """
    key = {
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
    path = directory and directory / f"{key['sha256'][:32]}.safetensors"
    if path and (known := _read(path)):
        return known, key
    statistics = FeatureStatistics()
    for features in real_features(dataset, extractor, samples=samples, seed=seed, device=device, progress=progress):
        statistics.update(features)
    if path:
        try:
            write_atomically(path, safetensors.numpy.save(statistics.to_arrays(), {"key": json.dumps(key)}))
        except OSError as error:
            warnings.warn(f"statistics of real images were not kept: {error}", stacklevel=2)
    return statistics, key


def _read(path):
    """The statistics in the file at `path`; None if it is not there or damaged."""
    try:
        with safe_open(path, "numpy") as file:
            return FeatureStatistics.from_arrays({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, KeyError):
        return None
