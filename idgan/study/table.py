"""Markdown tables of measured results."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from idgan.evaluation.measure import METRICS
from idgan.metrics import MetricResult

__all__ = ["Cell", "markdown_table", "metric_title", "paired_values"]

Cell = Mapping[int, MetricResult]
"""Seed -> result."""

TITLES = {"fid": "Fréchet distance"}
"""Heading of a metric without results, where it is not the name of the metric."""


def markdown_table(
    rows: Mapping[str, Mapping[str, Cell]], columns: Sequence[str], title: str, seeds: Sequence[int]
) -> str:
    """A table, followed by the missing cells and the protocols of the results.

    Args:
        rows: row label -> column label -> cell. A column that a row lacks does not count as missing.
        columns: column labels in order.
        title: the line above the table.
        seeds: the seeds that a complete cell has.
    """
    headings = {
        column: metric_title(column, [row[column] for row in rows.values() if column in row]) for column in columns
    }
    lines = [title, "", f"| | {' | '.join(headings.values())} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {label} | {' | '.join(_cell_text(row.get(column, {}), len(seeds)) for column in columns)} |"
        for label, row in rows.items()
    ]
    missing = [
        f"{label}: {headings[column]}" for label, row in rows.items() for column in row if len(row[column]) < len(seeds)
    ]
    if missing:
        lines += ["", f"Missing, in whole or in part: {'; '.join(missing)}."]
    measured = [result for column in columns for row in rows.values() for result in row.get(column, {}).values()]
    if measured:
        protocols = dict.fromkeys(
            f"{result.name}: {result.protocol}; n={result.samples}, seed {result.seed}" for result in measured
        )
        lines += ["", "Measured by", "", *(f"- {protocol}" for protocol in protocols)]
    return "\n".join(lines)


def metric_title(column: str, cells: Iterable[Cell]) -> str:
    """The heading of a column: the names of its results, such as FD-dsprites-convnet.

    Without results, or for other columns, the label.
    """
    names = dict.fromkeys(result.name for cell in cells for result in cell.values())
    return " / ".join(names) if names and column in METRICS else TITLES.get(column, column)


def paired_values(label: str, x: Cell, y: Cell) -> list[tuple[str, float, float]]:
    """(label, value of x, value of y) for each seed that both cells have."""
    return [(label, x[seed].value, y[seed].value) for seed in x if seed in y]


def _cell_text(cell: Cell, seeds: int) -> str:
    """Mean and standard deviation. The number of values follows if it is not `seeds`."""
    if not cell:
        return ""
    values = [result.value for result in cell.values()]
    spread = f" ± {statistics.stdev(values):.3g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}" + (f" (n={len(values)})" if len(values) < seeds else "")
