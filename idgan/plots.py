"""Plots of training curves, metrics and the information in code dimensions. They need matplotlib."""

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from PIL import Image

from idgan.errors import InvalidInputError, MissingDependencyError, missing_extra

__all__ = ["information_heatmap", "scatter", "training_curves"]

COLUMNS = 4
"""Largest number of panels in a row."""
INCHES = 3.2
"""Width of a panel."""
START = 0.05
"""Fraction of a curve that counts as its first values."""
MIN_CUT = 10
"""Smallest number of points of a curve whose first values may be outside its panel."""


def training_curves(records: Iterable[Mapping[str, Any]], title: str = "") -> Image.Image:
    """One panel per scalar, over the steps of training.

    A scalar that repeats an earlier one has no panel: the total loss of a phase often is its only term. The first
    values of a curve, if they would make the rest look flat, are outside the panel. Its title names the first value.

    Args:
        records: the lines of a run's `log.jsonl`: dicts with "step" and scalars by name. Other values are ignored.
        title: title of the picture.

    Raises:
        InvalidInputError: the records hold no scalars.
        MissingDependencyError: matplotlib is not installed.
    """
    curves: dict[str, dict[int, float]] = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, {})[record["step"]] = value
    if not curves:
        raise InvalidInputError("the log holds no scalars yet, so there is nothing to plot")
    shown: dict[str, dict[int, float]] = {}
    for name, points in curves.items():
        if not any(_repeats(points, other) for other in shown.values()):
            shown[name] = points
    figure, panels = _panels(len(shown), title)
    for panel, (name, points) in zip(panels, shown.items()):
        values = list(points.values())
        panel.plot(list(points), values, linewidth=1, marker="." if len(points) < 30 else None)
        limits = _limits(values)
        if limits:
            panel.set_ylim(*limits)
            name += f" (first value {values[0]:.3g})"
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("step", fontsize=8)
    return _picture(figure)


def _repeats(points: Mapping[int, float], other: Mapping[int, float]) -> bool:
    """Whether most of the points are points of the other curve. A regularizer that runs rarely changes a few."""
    return 2 * sum(other.get(step) == value for step, value in points.items()) > len(points)


def _limits(values: Sequence[float]) -> tuple[float, float] | None:
    """Limits of the y axis without the first values, or None if these leave the rest a quarter of the axis."""
    if len(values) < MIN_CUT:
        return None
    rest = values[math.ceil(START * len(values)) :]
    low, high = min(rest), max(rest)
    if low == high or 4 * (high - low) >= max(values) - min(values):
        return None
    margin = 0.05 * (high - low)
    return low - margin, high + margin


def scatter(
    groups: Mapping[str, Sequence[tuple[str, float, float]]], x: str, y: str, title: str = "", log_x: bool = False
) -> Image.Image:
    """Figure 3: one metric against another, with one panel per data set and one color per method.

    Args:
        groups: panel title -> points (label, value of x, value of y). A label has the same color in every panel.
        x, y: names of the two metrics.
        title: title of the picture.
        log_x: use a logarithmic x axis.

    Raises:
        InvalidInputError: there are no points.
        MissingDependencyError: matplotlib is not installed.
    """
    labels = list(dict.fromkeys(label for points in groups.values() for label, *_ in points))
    if not labels:
        raise InvalidInputError("groups hold no points, so there is nothing to plot")
    figure, panels = _panels(len(groups), title)
    for panel, (name, points) in zip(panels, groups.items()):
        for i, label in enumerate(labels):
            if own := [(a, b) for other, a, b in points if other == label]:
                panel.scatter(*zip(*own), label=label, color=f"C{i % 10}", marker="os^Dv"[i // 10 % 5])
        panel.set(title=name, xlabel=x, ylabel=y, xscale="log" if log_x else "linear")
        panel.legend(fontsize=7)
    return _picture(figure)


def information_heatmap(
    information: Sequence[Sequence[float]], entropy: Sequence[float], factors: Sequence[str], title: str = ""
) -> Image.Image:
    """Information that each code dimension (column) has about each factor (row), as a share of the factor's entropy.

    Args:
        information: mutual information in nats, (c_dim, F): `details["mutual_information"]` of the MIG's result.
        entropy: entropy of each factor in nats, F values. A factor of entropy 0 gives a row of zeros.
        factors: F names.
        title: title of the picture.

    Raises:
        InvalidInputError: the shapes disagree.
        MissingDependencyError: matplotlib is not installed.
    """
    if not len(information) or any(len(row) != len(factors) for row in information) or len(entropy) != len(factors):
        raise InvalidInputError(
            f"information must be of shape (c_dim, {len(factors)}) and entropy of shape ({len(factors)},), "
            f"for the factors {', '.join(map(str, factors))}"
        )
    shares = [[row[f] / entropy[f] if entropy[f] else 0.0 for row in information] for f in range(len(factors))]
    figure, (panel,) = _panels(1, title, width=0.6 * len(information) + 2, height=0.5 * len(factors) + 1.2)
    image = panel.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    panel.set(xlabel="code dimension", xticks=range(len(information)), yticks=range(len(factors)), yticklabels=factors)
    for f, row in enumerate(shares):
        for dim, share in enumerate(row):
            color = "white" if share > 0.6 else "black"
            panel.text(dim, f, f"{share:.2f}", ha="center", va="center", fontsize=7, color=color)
    figure.colorbar(image, label="share of the factor's entropy")
    return _picture(figure)


def _panels(count: int, title: str, width: float = INCHES, height: float = 0.8 * INCHES) -> tuple[Any, list[Any]]:
    """A figure with `count` axes, in rows of at most `COLUMNS`."""
    figure_class = _figure_class()
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure = figure_class(figsize=(width * columns, height * rows), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _figure_class() -> Any:
    """matplotlib's `Figure`. Without pyplot, plots need no display and share no state with the caller's own."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(missing_extra("plots need matplotlib", "plots")) from error
    except ValueError:
        # MPLBACKEND names a backend that is not installed. A command that runs in a notebook inherits it.
        backend = os.environ.pop("MPLBACKEND", None)
        if backend is None:
            raise
        try:
            from matplotlib.figure import Figure
        finally:
            os.environ["MPLBACKEND"] = backend
    return Figure


def _picture(figure: Any) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
