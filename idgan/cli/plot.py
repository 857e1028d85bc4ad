"""`idgan plot`: plots of what a run logged and measured."""

from pathlib import Path

import click

from idgan.cli.options import InputPath, OutputDirectory


@click.command()
@click.argument("run", metavar="RUN", type=InputPath(dir_okay=True))
@click.option("--out", type=OutputDirectory(), help="Directory of the plots.  [default: RUN]")
def plot(run: str, out: str | None) -> None:
    """Plot what a run logged and measured. RUN is a directory of `idgan train`, finished or not.

    Writes curves-vae.png and curves-gan.png: the logged scalars over the steps. If results.json has the MIG, it also
    writes information.png: the mutual information of each code dimension with each factor. Needs the extra `plots`.

    \b
    idgan train dsprites --out runs/mine
    idgan plot runs/mine
    """
    from idgan.errors import RunError
    from idgan.evaluation.results import RESULTS_FILE
    from idgan.files import read_json
    from idgan.images import save_png
    from idgan.plots import information_heatmap, training_curves
    from idgan.training.report import LOG_FILE, read_log
    from idgan.training.setup import STAGES

    directory, target = Path(run), Path(out or run)
    name = directory.resolve().name
    pictures = {}
    for stage in STAGES:
        if records := read_log(directory / stage / LOG_FILE):
            pictures[f"curves-{stage}.png"] = training_curves(records, f"{name}, {stage}")
    results = directory / RESULTS_FILE
    try:
        found = read_json(results)["metrics"] if results.exists() else []
        migs = [(metric["value"], metric["details"]) for metric in found if metric["name"] == "mig"]
        parts = [
            (f"MIG {value:.3f}", *(details[key] for key in ("mutual_information", "entropy", "gaps")))
            for value, details in migs
        ]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RunError(
            f"{results} is damaged ({error!r}); delete it, and measure again with `idgan evaluate {run}`"
        ) from error
    for title, information, entropy, gaps in parts:
        pictures["information.png"] = information_heatmap(information, entropy, list(gaps), f"{name}: {title}")
    if not pictures:
        raise RunError(
            f"{run} has nothing to plot: no vae/{LOG_FILE}, gan/{LOG_FILE} or {RESULTS_FILE}. Is it a run directory?"
        )
    for file, picture in pictures.items():
        save_png(picture, target / file)
        click.echo(target / file)
