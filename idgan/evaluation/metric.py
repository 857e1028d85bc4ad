"""The registry of metrics. Each is one `Metric`: a function of a `Subject`, and what the function needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from idgan.errors import InvalidInputError
from idgan.metrics.result import MetricResult
from idgan.registry import Registry

if TYPE_CHECKING:
    from idgan.evaluation.subject import Subject

__all__ = ["METRICS", "Metric", "register_metric"]

Compute = Callable[["Subject"], MetricResult]


@dataclass(frozen=True)
class Metric:
    """A metric of a sampler.

    Attributes:
        name: its name in `METRICS`, and on the command line.
        compute: function of a `Subject` that returns a `MetricResult`.
        summary: what it measures, in one line.
        needs_factors: it needs a data set with ground-truth factors.
        on_features: it is computed on the features of an extractor.
        reads_data: it reads the data set. Metrics of factors and of features always do.
        by_prior: its value depends on the distribution that c is drawn from.
        default: it is measured if no metrics are named.
        part: the part of the VAE that it measures: "encoder", "decoder" or None.
        extra: the extra of this package that installs its libraries, such as "metrics".
    """

    name: str
    compute: Compute
    summary: str
    needs_factors: bool = False
    on_features: bool = False
    reads_data: bool = True
    by_prior: bool = False
    default: bool = False
    part: str | None = None
    extra: str | None = None

    def __post_init__(self) -> None:
        if self.part not in (None, "encoder", "decoder"):
            raise InvalidInputError(f"part of metric {self.name!r} must be encoder, decoder or None, got {self.part!r}")
        if (self.needs_factors or self.on_features) and not self.reads_data:
            raise InvalidInputError(f"metric {self.name!r} needs factors or features, so reads_data must be True")
        # The registry compares entries by these two, so that a module may be imported twice.
        function = getattr(self.compute, "func", self.compute)  # of a functools.partial
        object.__setattr__(self, "__module__", getattr(function, "__module__", type(self).__module__))
        object.__setattr__(self, "__qualname__", getattr(function, "__qualname__", repr(function)))


METRICS: Registry[Metric] = Registry("metric")
"""Name -> `Metric`."""


def register_metric(
    name: str,
    *,
    summary: str | None = None,
    needs_factors: bool = False,
    on_features: bool = False,
    reads_data: bool = True,
    by_prior: bool = False,
    default: bool = False,
    part: str | None = None,
    extra: str | None = None,
) -> Callable[[Compute], Compute]:
    """Decorator that registers a function of a `Subject` as the metric `name`. The options are fields of `Metric`.

        @register_metric("brightness", reads_data=False, by_prior=True)
        def brightness(subject):
            "Mean intensity of generated images."
            images = torch.cat(list(subject.generated_images(subject.samples)))
            return MetricResult("brightness", images.mean(), "mean pixel", len(images), subject.seed)

    A file of results keeps the value. Delete the file after a change of the function.

    Args:
        summary: None takes the first line of the function's docstring.

    Raises:
        InvalidInputError: another function has that name, or the options contradict each other.
    """

    def add(compute: Compute) -> Compute:
        line = summary if summary is not None else (compute.__doc__ or "").strip().partition("\n")[0]
        metric = Metric(
            name,
            compute,
            line,
            needs_factors=needs_factors,
            on_features=on_features,
            reads_data=reads_data,
            by_prior=by_prior,
            default=default,
            part=part,
            extra=extra,
        )
        METRICS.add(name, metric)
        return compute

    return add
