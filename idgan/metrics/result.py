"""The result that every metric returns."""

import sys
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from numbers import Integral, Real
from typing import Any

import numpy
import torch

from idgan.record import value_text

__all__ = ["MetricResult", "installed", "versions"]


def versions(*packages: str) -> dict[str, str]:
    """Name -> version of this package, torch, NumPy and `packages`, which go by their names on PyPI."""
    # The package is always loaded by now. Its entry in sys.modules saves an import from a room above this one.
    package = sys.modules["idgan"]
    own = {
        "idgan": getattr(package, "__version__", "unknown"),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
    }
    return own | installed(*packages)


def installed(*packages: str) -> dict[str, str]:
    """Name on PyPI -> installed version of each of `packages`. It is "unknown" for a package that is not installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


@dataclass(frozen=True)
class MetricResult:
    """A measured value, and all that is needed to compare it with another.

    Arrays and tensors become plain lists, so that `to_dict` can be written as JSON.

    Attributes:
        name: name of the value in tables.
        value: the value.
        protocol: how it was measured, in one line.
        samples: number of points behind the estimate.
        seed: seed of all random numbers. None if there were none.
        confidence: one standard deviation of the value over repeated estimates. Each metric documents its estimator.
            None if no cheap estimator exists.
        details: intermediate figures.
        versions: library name -> version, for every library that the value may depend on.
    """

    name: str
    value: float
    protocol: str
    samples: int
    seed: int | None
    confidence: float | None = None
    details: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=versions)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, _plain(value))

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python values, in order."""
        return asdict(self)

    def __str__(self) -> str:
        value = value_text(self.value, self.confidence)
        return f"{self.name} {value}  n={self.samples}  seed={self.seed}  {self.protocol}"


def _plain(value: Any) -> Any:
    """`value` with arrays, tensors and NumPy numbers replaced by lists and Python numbers."""
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
