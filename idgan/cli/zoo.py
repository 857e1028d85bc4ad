"""`idgan list`, `info`, `verify`: what there is, and whether it is what it should be."""

from pathlib import Path

import click

from idgan.cli.options import model_argument, results_table, say_json


@click.command("list")
@click.option(
    "--status", type=click.Choice(["released", "recipe"]), help="Only those with weights, or only those without."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--markdown", is_flag=True, help="A table with the paper's two metrics, for a README.")
def list_(status, as_json, markdown):
    """List the models. Those "released" have weights; a "recipe" waits to be trained.

    \b
    idgan list
    idgan list --status released --json
    """
    from idgan import zoo

    rows = {name: zoo.info(name) for name in zoo.list_models(status=status)}
    if as_json:
        return say_json(rows)
    if markdown:
        return click.echo("\n".join(_table(rows)))
    width = max(map(len, rows), default=0)
    for name, entry in rows.items():
        shape = f"{entry['resolution']:>4} px, c {entry['c_dim']:>2}, s {entry['s_dim']:>3}"
        click.echo(f"{name:<{width}}  {entry['status']:<8}  {shape}  {entry['description']}")


def _table(rows):
    """Lines of a Markdown table of manifest entries, name -> entry."""
    yield "| name | images | c | s | status | FVM | MIG | data (license) |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, entry in rows.items():
        images = f"{entry['resolution']}x{entry['resolution']}{', color' if entry['image_channels'] == 3 else ''}"
        figures = " | ".join(
            _figure(entry, metric, protocol) for metric, protocol in (("fvm", "paper"), ("mig", "disentanglement_lib"))
        )
        data = f"{entry['data']['name']} ({entry['data']['license']})"
        yield f"| `{name}` | {images} | {entry['c_dim']} | {entry['s_dim']} | {entry['status']} | {figures} | {data} |"


def _figure(entry, name, protocol):
    """The value that a manifest entry has for a metric by that protocol, as text; "" if it has none."""
    values = [
        metric["value"]
        for metric in entry["metrics"]
        if metric["name"] == name and metric["protocol"].startswith(protocol)
    ]
    return f"{values[0]:.2f}" if values else ""


@click.command()
@model_argument
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def info(model, as_json):
    """Tell what is known of MODEL. Shapes, live code dimensions, licenses, how it was trained, what it measured.

    \b
    idgan info dsprites
    idgan info runs/mine --json
    """
    from idgan import zoo
    from idgan.evaluation.results import read_results
    from idgan.files import sha256_of

    entry = zoo.info(model) if model in zoo.list_models() else {}
    if not entry or entry["weights"]:
        found = zoo.resolve(model)
        sampler = zoo.load(found.path, device="cpu")
        entry |= {
            "resolution": sampler.resolution,
            "image_channels": sampler.image_channels,
            "c_dim": sampler.c_dim,
            "s_dim": sampler.s_dim,
            "active_dims": sampler.active_dims,
            "dim_kl": [round(kl, 3) for kl in sampler.dim_kl],
            "parameters": {
                part: sum(p.numel() for p in getattr(sampler, part).parameters()) for part in ("vae", "generator")
            },
        }
        entry.setdefault("training", sampler.info.get("training"))
        if Path(model).is_dir():
            results = Path(model) / "results.json"
            entry["metrics"] = [
                result.to_dict() for result in read_results(results, sampler.info["name"], sha256_of(found.path))
            ]
    if as_json:
        return say_json(entry)
    metrics = entry.pop("metrics", [])
    for line in _lines({"name": model, **entry}):
        click.echo(line)
    for line in results_table(metrics) if metrics else []:
        click.echo(f"  {line}")


def _lines(values, indent=0):
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{' ' * indent}{name}:"
            yield from _lines(value, indent + 2)
        else:
            yield f"{' ' * indent}{name}: {value}"


@click.command()
@model_argument
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(model, as_json):
    """Check that MODEL is sound. Its hash, its format, and that its networks still compute the golden outputs stored with it.

    Exits with 1 if they do not.

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
        click.echo(f"largest difference from the golden outputs: {differences}; accepted: {zoo.TOLERANCES}")
    if not result["ok"]:
        raise SystemExit(1)
