"""The one thing every metric returns: a value, and all that is needed to compare it with another."""

import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real

import numpy
import torch

__all__ = ["MetricResult", "installed", "value_text", "versions"]


def versions(*packages):
    """What a result was computed with, name -> version: this package, torch, NumPy, and `packages`, by their names on PyPI."""
    # The package is always loaded by now; asking sys.modules keeps this room from importing the ones above it.
    package = sys.modules["idgan"]
    own = {
        "idgan": getattr(package, "__version__", "unknown"),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
    }
    return own | installed(*packages)


def installed(*packages):
    """Name on PyPI -> installed version of each of `packages`; "unknown" of one that is not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def value_text(value, confidence=None):
    """A value as text, with ± its confidence where there is one."""
    return f"{value:.4f}" + ("" if confidence is None else f" ± {confidence:.4f}")


@dataclass(frozen=True)
class MetricResult:
    """A measured `value` with its protocol, sample count, seed and library versions.

    `samples` is how many points entered the estimate. `confidence` is one standard deviation of `value` over repeated estimates, found
    as the metric's docstring says (None where no cheap way exists). `details` holds the intermediate figures, `versions` every library that
    the value may depend on. Arrays and tensors become plain lists, so `to_dict` is JSON-able.
    """

    name: str
    value: float
    protocol: str
    samples: int
    seed: int | None
    confidence: float | None = None
    details: dict = field(default_factory=dict)
    versions: dict = field(default_factory=versions)

    def __post_init__(self):
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))

    def to_dict(self):
        """Fields as plain Python values, in order."""
        return asdict(self)

    def __str__(self):
        return f"{self.name} {value_text(self.value, self.confidence)}  n={self.samples}  seed={self.seed}  {self.protocol}"


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (torch.Tensor, numpy.ndarray)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bool, numpy.bool_)):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
