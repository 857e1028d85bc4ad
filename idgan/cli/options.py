"""Options that several commands share, and how their values are read."""

import re
from pathlib import Path

import click

__all__ = [
    "default_out",
    "device_option",
    "model_argument",
    "parse_changes",
    "parse_numbers",
    "results_table",
    "say_json",
]

MAX_NUMBERS = 100_000

model_argument = click.argument("model", metavar="MODEL")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 ...")


def default_out(model, what):
    """Where a command writes by default: into the current directory, named after MODEL, such as dsprites-samples.png."""
    name = model.partition("@")[0].removesuffix(".safetensors")
    return Path(f"{Path(name).resolve().name}-{what}")


def parse_numbers(context, parameter, text):
    """Seeds or dimensions written as "0-15,42" -> [0, ..., 15, 42]; a click callback."""
    if text is None:
        return None
    numbers = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,18})(?:-(\d{1,18}))?\s*", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise click.BadParameter(
                f"{part!r} is neither a number nor a range; write them as 0-15,42", context, parameter
            )
        if len(numbers) + last - first >= MAX_NUMBERS:
            raise click.BadParameter(f"{text!r} is more than {MAX_NUMBERS:,} numbers", context, parameter)
        numbers += range(first, last + 1)
    return numbers


def parse_changes(context, parameter, texts):
    """Changes of a code written as "3=+1.5" -> {3: 1.5}; a click callback."""
    changes = {}
    for text in texts:
        match = re.fullmatch(r"\s*(\d{1,6})\s*=\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*", text, re.ASCII)
        if not match:
            raise click.BadParameter(f"{text!r} is not DIMENSION=AMOUNT, such as 3=+1.5", context, parameter)
        dim = int(match[1])
        if dim in changes:
            raise click.BadParameter(f"dimension {dim} is there twice", context, parameter)
        changes[dim] = float(match[2])
    return changes


def results_table(results):
    """Lines of a table of `results`, dicts as `MetricResult.to_dict` makes them: a heading, then one each, in columns as wide as they must be."""
    from idgan.metrics.result import value_text

    rows = [("metric", "value", "samples", "seed", "protocol")]
    for result in results:
        value = value_text(result["value"], result.get("confidence"))
        rows.append((result["name"], value, f"{result['samples']:,}", str(result["seed"]), result["protocol"]))
    widths = [max(map(len, column)) for column in zip(*rows)][:-1]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows]


def say_json(value):
    """Print `value` as JSON, for programs."""
    import json

    click.echo(json.dumps(value, indent=2))
