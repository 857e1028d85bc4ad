"""Measuring a sampler: checks the request, then computes one metric after another."""

import copy
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from idgan import __version__
from idgan.data import Dataset, check_dataset, is_dsprites
from idgan.errors import InvalidInputError, check_integer
from idgan.evaluation import code_metrics, feature_distance  # noqa: F401 (they register the package's metrics)
from idgan.evaluation.extractors import FeatureExtractor, describe_extractor, open_extractor
from idgan.evaluation.metric import METRICS, Metric, register_metric
from idgan.evaluation.subject import DEFAULT_SAMPLES, Prior, Subject
from idgan.memory import kept_memory
from idgan.metrics import MetricResult
from idgan.rng import MAX_SEED
from idgan.sampler import PRIORS, Sampler

__all__ = ["DEFAULT_SAMPLES", "METRICS", "default_metrics", "matches_request", "measure", "register_metric"]

MAX_IMAGES = 10_000_000
"""Most samples of a measurement."""
MAX_REPEATS = 1000
FROM_POSTERIOR = "; c from the aggregated posterior"
FROM_PRIOR = "; c from N(0, I)"
"""Ends of the protocols of metrics that depend on the distribution of c."""
RENDERED = ("dsprites", "color-dsprites", "noisy-dsprites")
"""Data sets that this package renders. Their name identifies their images."""


def measure(
    sampler: Sampler,
    dataset: Dataset | None,
    metrics: str | Iterable[str] | None = None,
    *,
    seed: int = 0,
    repeats: int = 1,
    samples: int = DEFAULT_SAMPLES,
    priors: str | Sequence[str] = ("aggregated",),
    extractor: str | FeatureExtractor | None = None,
    gilbo_options: Mapping[str, Any] | None = None,
    variance_points: int | None = None,
    progress: bool = True,
    previous_results: Sequence[MetricResult] = (),
    accept_more_samples: bool = False,
) -> Iterator[MetricResult]:
    """Yield a `MetricResult` for each of `metrics`, in order. A metric that depends on the prior gives one for each.

    Everything that determines a result, except the sampler, is in its details under "request". The name of a result
    with the normal prior ends in "-normal".

    Args:
        sampler: what is measured.
        dataset: the data set that it was trained on. None is enough for metrics that read no data.
        metrics: names in `METRICS`. None takes `default_metrics`. A repeated name counts once.
        seed: seed of all random numbers.
        repeats: number of seeds, from `seed` on, over which metrics of factors are averaged. Other metrics use `seed`
            only.
        samples: number of generated images for a Fréchet distance, and of real ones (all, if the data set has fewer).
            alignment, r_id, kid and gilbo use at most 10,000.
        priors: distributions of c, from "aggregated" (the aggregated posterior) and "normal" (N(0, I)).
        extractor: features of fid and kid: a name in `EXTRACTORS`, or a `FeatureExtractor`. None takes
            dsprites-convnet for dSprites and its variants, and inception-v3 for other data.
        gilbo_options: options of `idgan.metrics.gilbo`, such as {"samples": 2000, "patience": 2}.
        variance_points: random points behind the global variance of fvm. None takes the whole grid, as in the paper,
            which takes minutes on a CPU.
        progress: show progress on stderr, see `idgan.progress`.
        previous_results: results of the same sampler. One that matches a request is yielded and not measured again.
        accept_more_samples: a previous result also matches if it has more samples, another seed or another version.

    Raises:
        InvalidInputError: an argument is unknown or out of range, a metric needs factors or data that are missing, or a
            metric measures a part that the sampler's method does not train.
        MissingDependencyError: a metric needs a library that is not installed.
        HubUnreachableError: the weights of the extractor cannot be downloaded.
    """
    check_integer(2, MAX_IMAGES, samples=samples)
    check_integer(1, MAX_REPEATS, repeats=repeats)
    check_integer(0, MAX_SEED - repeats + 1, seed=seed)
    if variance_points is not None:
        check_integer(2, variance_points=variance_points)
        variance_points = int(variance_points)
    seed, samples, repeats = int(seed), int(samples), int(repeats)
    if dataset is not None:
        check_dataset(dataset)
    selected = _select(sampler, dataset, metrics)
    checked_priors = _check_priors(priors)
    code_metrics.check_gilbo_options(gilbo_options or {})
    features = None
    if any(metric.on_features for metric in selected):
        default = "dsprites-convnet" if is_dsprites(dataset) else "inception-v3"
        features = open_extractor(default if extractor is None else extractor).to(sampler.device)
    elif extractor is not None and not isinstance(extractor, str):
        open_extractor(extractor)  # check it, even if no metric uses it
    subjects = {
        prior: Subject(
            sampler,
            dataset,
            seed,
            progress,
            prior=prior,
            samples=samples,
            extractor=features,
            gilbo_options=gilbo_options,
            variance_points=variance_points,
        )
        for prior in checked_priors
    }
    for metric in selected:
        for prior in checked_priors if metric.by_prior else checked_priors[:1]:
            subject = subjects[prior]
            request = describe_request(metric, subject)
            if repeats > 1 and metric.needs_factors:
                request["repeats"] = repeats
            matches = (old for old in previous_results if matches_request(old, request, accept_more_samples))
            known = next(matches, None)
            yield _compute(metric, subject, request) if known is None else _naming_the_prior(known, subject)


def _select(sampler: Sampler, dataset: Dataset | None, names: str | Iterable[str] | None) -> list[Metric]:
    """The metrics called `names`, if they can be computed of `sampler` on `dataset`."""
    untrained = sampler.untrained
    if names is None:
        names = default_metrics(dataset, untrained)
    selected = [METRICS[name] for name in dict.fromkeys([names] if isinstance(names, str) else names)]
    if dataset is not None and dataset.image_channels != sampler.image_channels and any_reads_data(selected):
        raise InvalidInputError(
            f"the data set has images of {dataset.image_channels} channels; the model's have {sampler.image_channels}"
        )
    for metric in selected:
        if metric.reads_data and dataset is None:
            without = ", ".join(name for name, other in METRICS.items() if not other.reads_data)
            raise InvalidInputError(f"{metric.name} needs a data set; without one, choose from {without}")
        if metric.needs_factors and (dataset is None or dataset.factors is None):
            raise InvalidInputError(f"{metric.name} needs ground-truth factors, which this data set does not have")
        if metric.part in untrained:
            raise InvalidInputError(
                f"{metric.name} measures the {metric.part}, which method {sampler.record.method!r} does not train"
            )
    return selected


def _check_priors(priors: str | Sequence[str]) -> tuple[Prior, ...]:
    """`priors` as a tuple without repetitions."""
    given = (priors,) if isinstance(priors, str) else tuple(priors)
    if not given or any(prior not in PRIORS for prior in given):
        raise InvalidInputError(f"priors must be one or more of {', '.join(PRIORS)}, got {priors!r}")
    return cast(tuple[Prior, ...], tuple(dict.fromkeys(given)))


def any_reads_data(metrics: Iterable[Metric]) -> bool:
    """Whether any of `metrics` reads the data set."""
    return any(metric.reads_data for metric in metrics)


def default_metrics(dataset: Dataset | None, untrained: Sequence[str] = ()) -> list[str]:
    """Names of the metrics that are measured on `dataset` (None: no data set) if none are named.

    Distances are among them only if features for the data come with the package. Metrics of `untrained` parts of the
    VAE ("encoder", "decoder") are left out.
    """
    has_factors = dataset is not None and dataset.factors is not None
    return [
        name
        for name, metric in METRICS.items()
        if metric.default
        and metric.part not in untrained
        and (has_factors or not metric.needs_factors)
        and (is_dsprites(dataset) or not metric.on_features)
        and (dataset is not None or not metric.reads_data)
    ]


def describe_request(metric: Metric, subject: Subject) -> dict[str, Any]:
    """Everything except the sampler that determines the result of `metric`, as a flat dict."""
    request: dict[str, Any] = {
        "metric": metric.name,
        "seed": subject.seed,
        "data": str(subject.sampler.info.get("data")),
    }
    if metric.reads_data:
        request |= {"data_size": len(subject.dataset), "content": subject.content}
    if metric.by_prior:
        request |= {"prior": subject.prior, "samples": subject.samples}
    if metric.on_features and subject.extractor is not None:
        request["extractor"] = describe_extractor(subject.extractor)
    if metric.name == "gilbo":
        for option, value in subject.gilbo_options.items():  # tuples become lists, as in a file
            request[option] = list(value) if isinstance(value, tuple) else value
    if metric.name == "fvm" and subject.variance_points is not None:
        request["variance_points"] = subject.variance_points
    return request | {"idgan": __version__}


def matches_request(result: MetricResult, request: Mapping[str, Any], accept_more_samples: bool = False) -> bool:
    """Whether `result` is what `request` asks for.

    Requests of older versions have no content hash, and state the size of data that was not read. The hash of such a
    result is taken from the statistics of its real images. It is not needed for metrics of factors on images that this
    package renders. An FVM with the variance of the whole grid is what a request with fewer points asks for.

    Args:
        accept_more_samples: a result of more samples, another seed or another version matches too.
    """
    stored = dict(result.details.get("request", {}))
    if "content" not in request:
        stored.pop("data_size", None)
    elif "content" not in stored:
        metric = request["metric"]
        rendered = stored.get("data") in RENDERED and metric in METRICS and METRICS[metric].needs_factors
        stored["content"] = request["content"] if rendered else result.details.get("real", {}).get("content")
    if "variance_points" in request:
        stored.setdefault("variance_points", request["variance_points"])
    if accept_more_samples and stored.get("samples", 0) >= request.get("samples", 0):
        stored |= {part: request[part] for part in ("seed", "samples", "idgan") if part in request}
    return stored == request


def _compute(metric: Metric, subject: Subject, request: dict[str, Any]) -> MetricResult:
    """The result of `metric`. Name and protocol state the prior."""
    if subject.progress and not sys.stderr.isatty():
        prior = f", c from the {subject.prior} prior" if metric.by_prior else ""
        print(f"measuring {metric.name}{prior}", file=sys.stderr, flush=True)
    with kept_memory():
        result = _mean_over_seeds(metric, subject, request.get("repeats", 1))
    if not isinstance(result, MetricResult):
        raise InvalidInputError(f"metric {metric.name} must return a MetricResult, got {type(result).__name__}")
    details = {"request": request, **result.details}
    if not metric.by_prior:
        return replace(result, details=details)
    suffix, prior = ("", FROM_POSTERIOR) if subject.prior == "aggregated" else ("-normal", FROM_PRIOR)
    result = replace(result, name=result.name + suffix, protocol=f"{result.protocol}{prior}", details=details)
    return _naming_the_prior(result, subject)


def _naming_the_prior(result: MetricResult, subject: Subject) -> MetricResult:
    """`result` with a protocol that says N(0, I) if training drew c from it, so that there is no aggregated posterior.

    Results of older versions called it the aggregated posterior.
    """
    if subject.sampler.has_bank or not result.protocol.endswith(FROM_POSTERIOR):
        return result
    return replace(result, protocol=f"{result.protocol.removesuffix(FROM_POSTERIOR)}{FROM_PRIOR}, as in training")


def _mean_over_seeds(metric: Metric, subject: Subject, repeats: int) -> MetricResult:
    """The result of `metric`, averaged over the seed of `subject` and the following ones, `repeats` in all.

    Its confidence is then that of the mean: the deviation over seeds by the root of their number.
    """
    first = metric.compute(subject)
    if repeats == 1 or not isinstance(first, MetricResult):
        return first
    results = [first]
    for seed in range(subject.seed + 1, subject.seed + repeats):
        other = copy.copy(subject)  # with the codes that are known
        other.seed = seed
        results.append(metric.compute(other))
    values = [result.value for result in results]
    deviation = statistics.stdev(values)
    return replace(
        first,
        value=statistics.mean(values),
        confidence=deviation / repeats**0.5,
        protocol=f"{first.protocol}; mean over seeds {subject.seed} to {seed}, which deviate by {deviation:.3g}",
        details={"values": values, "deviation": deviation, **first.details},
    )
