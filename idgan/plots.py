"""Plots of figures: training curves, metrics against each other, what each code dimension tells of each factor. They need matplotlib."""

import io
import math

from PIL import Image

from idgan.errors import InvalidInputError, MissingDependencyError

__all__ = ["information_heatmap", "scatter", "training_curves"]

COLUMNS = 4
INCHES = 3.2


def training_curves(records, title=""):
    """A panel a scalar over the steps of training; a PIL image.

    Args:
        records: dicts with "step" and scalars by name, in order: the lines of a run's `log.jsonl`. Other values in them are left out.

    Raises:
        InvalidInputError: there is no scalar in them.
        MissingDependencyError: no matplotlib.
    """
    curves = {}
    for record in records:
        for name, value in record.items():
            if name != "step" and isinstance(value, (int, float)) and math.isfinite(value):
                curves.setdefault(name, []).append((record["step"], value))
    if not curves:
        raise InvalidInputError("the log holds no scalars yet: there is nothing to plot")
    figure, panels = _panels(len(curves), title)
    for panel, (name, points) in zip(panels, curves.items()):
        panel.plot(*zip(*points), linewidth=1, marker="." if len(points) < 30 else None)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("step", fontsize=8)
    return _picture(figure)


def scatter(groups, x, y, title="", log_x=False):
    """Figure 3: one metric against another, a panel a data set, a color a method; a PIL image.

    Args:
        groups: panel title -> list of (label, value of x, value of y); points with the same label have the same color everywhere.
        x, y: names of the two metrics.
        log_x: a logarithmic x axis.

    Raises:
        InvalidInputError: there is no point.
        MissingDependencyError: no matplotlib.
    """
    labels = list(dict.fromkeys(label for points in groups.values() for label, *_ in points))
    if not labels:
        raise InvalidInputError("there is no point to plot")
    figure, panels = _panels(len(groups), title)
    for panel, (name, points) in zip(panels, groups.items()):
        for i, label in enumerate(labels):
            if own := [(a, b) for other, a, b in points if other == label]:
                panel.scatter(*zip(*own), label=label, color=f"C{i % 10}", marker="os^Dv"[i // 10 % 5])
        panel.set(title=name, xlabel=x, ylabel=y, xscale="log" if log_x else "linear")
        panel.legend(fontsize=7)
    return _picture(figure)


def information_heatmap(information, entropy, factors, title=""):
    """What each code dimension (a column) tells of each factor (a row), as a share of the factor's entropy; a PIL image.

    Args:
        information: mutual information in nats, (c_dim, F) nested lists or an array; `details["mutual_information"]` of the MIG's result.
        entropy: of each factor in nats, F values; a factor without entropy is a row of zeros.
        factors: F names.

    Raises:
        InvalidInputError: the shapes disagree.
        MissingDependencyError: no matplotlib.
    """
    if not len(information) or any(len(row) != len(factors) for row in information) or len(entropy) != len(factors):
        raise InvalidInputError(
            f"information must be (c_dim, {len(factors)}) and entropy ({len(factors)},): one a factor of {list(factors)}"
        )
    shares = [[row[f] / entropy[f] if entropy[f] else 0.0 for row in information] for f in range(len(factors))]
    figure, (panel,) = _panels(1, title, width=0.6 * len(information) + 2, height=0.5 * len(factors) + 1.2)
    image = panel.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    panel.set(xlabel="code dimension", xticks=range(len(information)), yticks=range(len(factors)), yticklabels=factors)
    for f, row in enumerate(shares):
        for dim, share in enumerate(row):
            panel.text(
                dim, f, f"{share:.2f}", ha="center", va="center", fontsize=7, color="white" if share > 0.6 else "black"
            )
    figure.colorbar(image, label="share of the factor's entropy")
    return _picture(figure)


def _panels(count, title, width=INCHES, height=0.8 * INCHES):
    """A figure, and `count` axes on it in rows of at most `COLUMNS`."""
    try:
        from matplotlib.figure import Figure  # without pyplot: no display, no state shared with the caller's own plots
    except ImportError as error:
        raise MissingDependencyError("plots need matplotlib: pip install 'idgan[plots]'") from error
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows), dpi=110, layout="constrained")
    figure.suptitle(title, fontsize=10)
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _picture(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return Image.open(buffer).convert("RGB")
