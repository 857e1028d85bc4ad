"""`idgan list`, `info`, `verify`: the models, their entries, and checks of their files."""

import re
from collections.abc import Iterator
from typing import Any

import click

from idgan.cli.options import model_argument, results_table, say_json, threads_option

DISENTANGLEMENT = (("fvm", "paper"), ("mig", "disentanglement_lib"))
"""The paper's two metrics, as (name, start of the protocol)."""
DISTANCE = r"FI?D(?!.*(normal|infinity)).*"
"""Names of Fréchet distances with codes from the aggregated posterior."""


@click.command("list")
@click.argument("pattern", required=False)
@click.option(
    "--status", type=click.Choice(["released", "recipe"]), help="Only models with weights, or only those without."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table of sizes and measured values.")
def list_(pattern: str | None, status: str | None, as_json: bool, markdown: bool) -> None:
    """List the models, or those whose names match PATTERN.

    A model with the status "released" has weights. One with the status "recipe" must be trained first.

    \b
    idgan list
    idgan list 'celeba*'
    idgan list --status released --json
    """
    from idgan import zoo

    rows = {name: zoo.info(name) for name in zoo.list_models(pattern, status=status)}
    width = max(map(len, rows), default=0)
    if as_json:
        say_json(rows)
    elif markdown:
        click.echo("\n".join(_table(rows)))
    else:
        for name, entry in rows.items():
            shape = f"{entry['resolution']:>4} px, c {entry['c_dim']:>2}, s {entry['s_dim']:>3}"
            click.echo(f"{name:<{width}}  {entry['status']:<8}  {shape}  {entry['description']}")


def _table(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table of manifest entries, name -> entry. Those with weights come first."""
    yield "| name | what to expect | images | weights | FVM, MIG | FD of generator, decoder | data (license) |"
    yield "|---|---|---|---|---|---|---|"
    for name, entry in sorted(rows.items(), key=lambda row: row[1]["weights"] is None):
        side = entry["resolution"]
        disentangled = [_metric_value(entry, *metric, ".2f") for metric in DISENTANGLEMENT]
        distances = [_metric_value(entry, DISTANCE, part, ".3g") for part in ("generator", "decoder")]
        cells = [
            f"`{name}`",
            entry["description"],
            f"{side}x{side}{', color' if entry['image_channels'] == 3 else ''}",
            f"{entry['weights']['bytes'] / 1e6:.1f} MB" if entry["weights"] else "none yet",
            ", ".join(filter(None, disentangled)),
            ", ".join(filter(None, distances)),
            f"{entry['data']['name']} ({entry['data']['license']})",
        ]
        yield f"| {' | '.join(cells)} |"


def _metric_value(entry: dict[str, Any], pattern: str, protocol: str, form: str) -> str:
    """The value of a metric in a manifest entry as text, or "" if it was not measured.

    Args:
        entry: the entry.
        pattern: regular expression for the name of the metric.
        protocol: how its protocol begins.
        form: format specification of the value.
    """
    values = [
        metric["value"]
        for metric in entry["metrics"]
        if re.fullmatch(pattern, metric["name"]) and metric["protocol"].startswith(protocol)
    ]
    return format(values[0], form) if values else ""


@click.command()
@model_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(model: str, as_json: bool) -> None:
    """Show shapes, licenses, training and metrics of MODEL.

    \b
    idgan info dsprites
    idgan info runs/mine --json
    """
    from idgan import zoo

    entry = zoo.info(model) if model in zoo.list_models() else {}
    # The package's entries state all facts, so that they are shown without PyTorch, which takes seconds to import.
    if not entry or (entry["weights"] and "active_dims" not in entry):
        entry |= _facts_in_file(model, entry)
    if as_json:
        return say_json(entry)
    metrics = entry.pop("metrics", [])
    for line in _lines({"name": model, **entry}):
        click.echo(line)
    for line in results_table(metrics) if metrics else []:
        click.echo(f"  {line}")


def _facts_in_file(model: str, entry: dict[str, Any]) -> dict[str, Any]:
    """What the checkpoint file of `model` and the results beside it say."""
    from idgan import zoo
    from idgan.zoo.pretrained import results_of

    found = zoo.resolve(model)
    sampler = zoo.load(found, device="cpu")
    facts = {
        "resolution": sampler.resolution,
        "image_channels": sampler.image_channels,
        "c_dim": sampler.c_dim,
        "s_dim": sampler.s_dim,
        "active_dims": sampler.active_dims,
        "dim_kl": [round(kl, 3) for kl in sampler.dim_kl],
        "parameters": sampler.parameter_counts,
    }
    if entry:
        return facts
    described = found.saved.to_json() if found.saved else {"training": sampler.info.get("training")}
    return described | facts | {"metrics": results_of(found)}


def _lines(values: dict[str, Any], indent: int = 0) -> Iterator[str]:
    """Lines "name: value", with the fields of an object indented below its name.

    Text of a file is escaped, see `printable`.
    """
    from idgan.zoo.untrusted import printable

    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{' ' * indent}{printable(name)}:"
            yield from _lines(value, indent + 2)
        else:
            yield f"{' ' * indent}{printable(name)}: {printable(value)}"


@click.command()
@model_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@threads_option
def verify(model: str, as_json: bool) -> None:
    """Check the file of MODEL.

    Checks the hash and the format, and that the networks reproduce the golden outputs in the file. Exits with 1 if a
    check fails.

    \b
    idgan verify dsprites
    """
    from idgan import zoo

    result = zoo.verify(model)
    if as_json:
        say_json(result)
    else:
        differences = ", ".join(f"{name} {value:.1e}" for name, value in result["differences"].items())
        click.echo(f"{result['name']}: {'ok' if result['ok'] else 'FAILED'} ({result['path']})")
        accepted = ", ".join(f"{name} {zoo.TOLERANCES[name]:.1e}" for name in result["differences"])
        click.echo(f"largest difference from the golden outputs: {differences}; accepted: {accepted}")
    if not result["ok"]:
        raise SystemExit(1)
