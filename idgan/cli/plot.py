"""`idgan plot`: pictures of a run's figures."""

from pathlib import Path

import click


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(exists=True, file_okay=False))
@click.option("--out", type=click.Path(file_okay=False), help="Where to write the pictures.  [default: RUN]")
def plot(run, out):
    """Plot what a run logged and measured. RUN is the directory of `idgan train`, finished or not.

    Writes curves-vae.png and curves-gan.png (every logged scalar over the steps) and, where results.json has the MIG, information.png: what
    each code dimension tells of each factor. Needs matplotlib: pip install 'idgan[plots]'.

    \b
    idgan train dsprites --out runs/mine
    idgan plot runs/mine
    """
    import json

    from idgan.errors import RunError
    from idgan.images import save_png
    from idgan.plots import information_heatmap, training_curves
    from idgan.training.report import read_log

    run, out = Path(run), Path(out or run)
    pictures = {}
    for stage in ("vae", "gan"):
        if records := read_log(run / stage / "log.jsonl"):
            pictures[f"curves-{stage}.png"] = training_curves(records, f"{run.resolve().name}, {stage}")
    results = run / "results.json"
    try:
        found = json.loads(results.read_text())["metrics"] if results.exists() else []
        migs = [(metric["value"], metric["details"]) for metric in found if metric["name"] == "mig"]
        parts = [
            (f"MIG {value:.3f}", *(details[key] for key in ("mutual_information", "entropy", "gaps")))
            for value, details in migs
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{results} is damaged ({error!r}): delete it, and measure again with `idgan evaluate {run}`"
        ) from error
    for title, information, entropy, gaps in parts:
        pictures["information.png"] = information_heatmap(
            information, entropy, list(gaps), f"{run.resolve().name}: {title}"
        )
    if not pictures:
        raise RunError(
            f"{run} holds nothing to plot: neither vae/log.jsonl nor gan/log.jsonl nor results.json. Is it a run's directory?"
        )
    for name, picture in pictures.items():
        save_png(picture, out / name)
        click.echo(out / name)
