"""`idgan evaluate`: the metrics of a checkpoint."""

import warnings
from typing import Any

import click

from idgan.cli.options import (
    OutputFile,
    data_option,
    default_out,
    device_option,
    model_argument,
    results_table,
    threads_option,
)


class EvaluateCommand(click.Command):
    """A command whose help lists the registered metrics and feature extractors."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from idgan.evaluation.extractors import extractor_usages
        from idgan.evaluation.measure import METRICS

        with formatter.section("Metrics (* only if named, + needs the extra metrics)"):
            formatter.write_dl([(_marked(metric), metric.summary) for metric in METRICS.values()])
        with formatter.section("Extractors"):
            formatter.write_dl(list(extractor_usages().items()))
        super().format_epilog(ctx, formatter)


def _marked(metric: Any) -> str:
    """The name of a metric with its marks for the help."""
    return metric.name + ("" if metric.default else "*") + ("+" if metric.extra else "")


def _names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str] | None:
    """Read names such as "mig,fid". A click callback."""
    return None if text is None else [name.strip() for name in text.split(",")]


@click.command(cls=EvaluateCommand)
@model_argument
@click.option(
    "--metrics",
    metavar="NAME,...",
    callback=_names,
    help="Metrics to compute.  [default: those without * that fit model and data]",
)
@click.option(
    "--prior",
    default="aggregated",
    show_default=True,
    callback=_names,
    help="Distribution of the codes: aggregated, normal, or both with a comma.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=2),
    default=50_000,
    show_default=True,
    help="Generated and real images of a Fréchet distance. alignment, r_id, kid and gilbo use at most 10,000.",
)
@click.option(
    "--extractor",
    metavar="NAME",
    help="Features of fid and kid.  [default: dsprites-convnet or inception-v3, by the data]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all draws.")
@click.option(
    "--repeats",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Number of seeds over which metrics of factors (fvm, mig, ...) are averaged.",
)
@data_option
@click.option(
    "--out",
    type=OutputFile(),
    help="JSON file to write.  [default: results.json of a run, MODEL-results.json]",
)
@threads_option
@device_option
def evaluate(
    model: str,
    metrics: list[str] | None,
    prior: list[str],
    samples: int,
    extractor: str | None,
    seed: int,
    repeats: int,
    data: str | None,
    out: str | None,
    device: str,
) -> None:
    """Measure MODEL. Prints a table and writes JSON with the protocol, samples, seed and versions of every value.

    The file is written after each metric, and the same command resumes an interrupted measurement. It keeps results of
    the same checkpoint, data, samples and seed. Delete the file to measure everything again. Results of another
    checkpoint of the same name are moved to a file such as results.1.json.

    The number after ± is one standard deviation of the value over repeated estimates. For a Fréchet distance, the
    estimates differ in the generated images and share the real ones.

    Without the data set, only metrics that need none are measured. A Fréchet distance is a default only for dSprites
    and its variants, whose features come with the package. With the features of FID's own network, distances are called
    FID and KID. With other features, they are called FD and KD, followed by the extractor.

    \b
    idgan evaluate dsprites
    idgan evaluate dsprites --metrics fvm,mig --repeats 16
    idgan evaluate dsprites --metrics fid,r_id --prior aggregated,normal
    idgan evaluate runs/faces --metrics fid --extractor efficientnet-lite0
    """
    from idgan.evaluation.results import RESULTS_FILE
    from idgan.zoo.evaluate import iter_results
    from idgan.zoo.models import local_path

    place = local_path(model)
    path = out or (place / RESULTS_FILE if place and place.is_dir() else default_out(model, RESULTS_FILE))
    results: list[dict[str, Any]] = []
    with warnings.catch_warnings():
        warnings.showwarning = _print_warning
        try:
            for result in iter_results(
                model,
                data=data,
                metrics=metrics,
                samples=samples,
                priors=prior,
                extractor=extractor,
                seed=seed,
                repeats=repeats,
                out=path,
                device=device,
            ):
                results.append(result.to_dict())
        finally:  # after an error or an interruption, the results so far
            for line in results_table(results) if results else []:
                click.echo(line)
    click.echo(f"wrote {path}")


def _print_warning(message: Warning | str, *details: Any, **options: Any) -> None:
    """Print a warning in one line, without its place in the code."""
    click.echo(f"Warning: {' '.join(str(message).split())}", err=True)
