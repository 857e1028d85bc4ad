"""`idgan dims`: the code dimensions of a checkpoint and their names."""

import re
from collections.abc import Iterable
from typing import Any

import click

from idgan.cli.options import data_option, model_argument, say_json, threads_option
from idgan.dims import NAME, NAME_RULE


def _parse_names(context: click.Context, parameter: click.Parameter, texts: Iterable[str]) -> dict[str, int]:
    """Read names such as "smile=3" as {"smile": 3}. A click callback."""
    names: dict[str, int] = {}
    for text in texts:
        name, _, dim = (part.strip() for part in text.partition("="))
        if not re.fullmatch(NAME, name) or not re.fullmatch(r"\d{1,6}", dim, re.ASCII):
            raise click.BadParameter(
                f"{text!r} is not NAME=DIMENSION, such as smile=3; a name has {NAME_RULE}", context, parameter
            )
        if name in names:
            raise click.BadParameter(f"name {name} is given twice", context, parameter)
        names[name] = int(dim)
    return names


@click.command()
@model_argument
@click.option(
    "--name",
    "names",
    multiple=True,
    callback=_parse_names,
    help="NAME=DIMENSION, such as smile=3. The name is stored in MODEL, a run directory or a file. Can be repeated.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Name the dimensions after the factors or the attributes of the data set. Keeps other names.",
)
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@threads_option
def dims(model: str, names: dict[str, int], measure: bool, data: Any, as_json: bool) -> None:
    """Show the code dimensions of MODEL, or name them.

    The table has the name of each dimension, its mean KL to N(0, 1) in nats, and its 1st and 99th percentile under the
    aggregated posterior. A dimension is inactive if its mean KL is below 0.1.

    Training on a data set with factors names the dimensions. For CelebA, --measure names them after its attributes. Use
    images that the model was not trained on (`idgan prepare celeba --skip N`). For other data, look at
    `idgan traverse MODEL` and give names with --name. Commands accept a name in place of a dimension.

    \b
    idgan dims dsprites
    idgan dims runs/faces --measure --data celeba-64-held-out/
    idgan dims runs/faces --name smile=3 --name hair=7
    idgan edit runs/faces photo.png --set smile=+2
    """
    from idgan import zoo
    from idgan.zoo.naming import measured_names, write_names

    if names or measure:
        found = measured_names(model, data) if measure else {}
        taken = set(names.values())
        write_names(model, {**{name: dim for name, dim in found.items() if dim not in taken}, **names})
    sampler = zoo.load(model, device="cpu")
    low, high = sampler.code_range()
    names_of = {dim: name for name, dim in sampler.dims.items()}
    ranges = [(round(low[dim].item(), 2), round(high[dim].item(), 2)) for dim in range(sampler.c_dim)]
    if as_json:
        fields = zip(range(sampler.c_dim), sampler.active.tolist(), sampler.dim_kl, ranges)
        return say_json(
            [
                {"dim": dim, "name": names_of.get(dim), "active": active, "kl": round(kl, 3), "range": span}
                for dim, active, kl, span in fields
            ]
        )
    width = max(map(len, ["name", *sampler.dims]))
    click.echo(f"dim  {'name':<{width}}  {'KL':>6}  range")
    for dim, (first, last) in enumerate(ranges):
        text = f"{first:+.2f} .. {last:+.2f}" if sampler.active[dim] else "inactive"
        click.echo(f"{dim:>3}  {names_of.get(dim, ''):<{width}}  {sampler.dim_kl[dim]:>6.2f}  {text}")
