"""`idgan table` and `idgan figure`: the tables and figures of the paper."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idgan.cli.options import OutputDirectory, busy_note, duration, parse_numbers, threads_option

if TYPE_CHECKING:
    from idgan.study import Study

SCALES = ("full", "short", "tiny")


def study_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `table` and `figure`."""

    @click.option(
        "--scale",
        type=click.Choice(SCALES),
        help="full: the paper's budget. short: hours to days on a CPU. tiny: seconds.  [default: full on a GPU, else "
        "short]",
    )
    @click.option(
        "--seeds",
        metavar="N,...",
        default="0",
        show_default=True,
        callback=parse_numbers,
        help="Seeds, such as 0-2, with one run each.",
    )
    @click.option("--names", metavar="NAME,...", help="Recipes.  [default: the paper's]")
    @click.option(
        "--data",
        multiple=True,
        metavar="[NAME=]PATH",
        help="Files of the data set NAME, or of the recipe NAME. Can be repeated. NAME= is optional for one recipe.",
    )
    @click.option("--extractor", metavar="NAME", help="Features of the Fréchet distance, see idgan evaluate --help.")
    @click.option(
        "--out",
        type=OutputDirectory(),
        default="runs/study",
        show_default=True,
        help="Directory of the runs. All tables and figures share it, and existing runs are used.",
    )
    @click.option("--results-only", is_flag=True, help="Use existing runs and results. Train and measure nothing.")
    @click.option("--dry-run", is_flag=True, help="Print which runs are missing and how long they take. Train nothing.")
    @threads_option
    @wraps(command)
    def with_options(**options: Any) -> Any:
        return command(**options)

    return with_options


@click.command()
@click.argument("number", metavar="NUMBER")
@study_options
def table(number: str, names: str | None, **options: Any) -> None:
    """Make a table of the paper.

    The command trains and measures missing runs, prints the table, and writes it into the directory of the runs.

    \b
    1  methods on the synthetic sets            3  effect of distillation
    2  joint training against two stages        4  natural images

    \b
    idgan table 2 --scale short
    idgan table 3 --data celeba-128=celeba-128 --data celeba-64=celeba-64
    """
    from idgan.files import write_atomically
    from idgan.study import TABLES

    make, usual = TABLES[_number(number, TABLES)]
    for study, file, text in _outputs(make, names.split(",") if names else usual, options):
        write_atomically(study.out / file, text + "\n")
        click.echo(text)


class FigureCommand(click.Command):
    """A command whose help lists the figures."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from idgan.study import FIGURES

        with formatter.section("Figures"):
            rows = [(number, f"{each.summary} ({', '.join(each.names)})") for number, each in FIGURES.items()]
            formatter.write_dl(rows)
        super().format_epilog(ctx, formatter)


@click.command(cls=FigureCommand)
@click.argument("number", metavar="NUMBER")
@study_options
def figure(number: str, names: str | None, **options: Any) -> None:
    """Make a figure of the paper.

    The command trains missing runs, and writes PNG files into the directory of the runs. NUMBER is listed below. For
    any other model, use `idgan sample` and `idgan traverse`.

    \b
    idgan figure 4 --scale short
    idgan figure 6 --names cars-64 --data cars-64
    """
    from idgan.images import save_png
    from idgan.study import FIGURES

    chosen = FIGURES[_number(number, FIGURES)]
    for study, file, picture in _outputs(chosen.make, names.split(",") if names else chosen.names, options):
        click.echo(save_png(picture, study.out / file))


def _number(text: str, known: Iterable[str]) -> str:
    """The key of `known` for a number such as 3, A.10 or a10."""

    def plain(number: str) -> str:
        return number.lower().replace(".", "")

    for number in known:
        if plain(number) == plain(text):
            return number
    raise click.BadParameter(f"{text!r} is not one of {', '.join(known)}", param_hint="NUMBER")


def _outputs(make: Any, names: Sequence[str], options: dict[str, Any]) -> Iterator[tuple["Study", str, Any]]:
    """Yield (study, name of a file, content) for what `make` makes of `names`.

    Before training, every data set and feature extractor is opened, and the cost is printed. At the end, missing runs
    are printed.
    """
    from idgan.evaluation.extractors import open_extractor
    from idgan.study import plan_of

    dry_run, results_only = options.pop("dry_run"), options.pop("results_only")
    study = _study(names, train=not (dry_run or results_only), **options)
    plan = plan_of(study, lambda reader: make(reader, names))
    missing = plan.absent
    if study.train:
        # Data or weights that are missing must not stop the work after hours.
        for name in sorted(plan.needed):
            study.open_data(name)
        for name in sorted(plan.extractors):
            open_extractor(name)
    if missing and not results_only:
        for directory in missing if dry_run else ():
            click.echo(directory)
        click.echo("measuring the speed of a training step ...", err=True)
        click.echo(_cost(study, missing), err=True)
    if dry_run:
        click.echo(f"{len(missing)} runs are missing")
        return
    for file, content in make(study, names):
        yield study, file, content
    for directory in study.absent:
        click.echo(f"missing: {directory}", err=True)


def _study(
    names: Sequence[str],
    *,
    scale: str | None,
    seeds: Sequence[int],
    data: Sequence[str],
    extractor: str | None,
    out: str,
    train: bool,
) -> "Study":
    import torch

    from idgan.study import Study

    scale = scale or ("full" if torch.cuda.is_available() else "short")
    return Study(scale, out, seeds, _files(data, names), extractor, train=train)


def _files(data: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Recipe or data set -> its files, from texts such as "celeba-64=DIR" or "DIR".

    Raises:
        click.BadParameter: a text lacks the name although there are several, or has a name that no recipe needs.
    """
    from idgan.recipes import recipe_of
    from idgan.study import STAGE_1_OF

    recipes = dict.fromkeys([*names, *(STAGE_1_OF[name] for name in names if name in STAGE_1_OF)])
    accepted = dict.fromkeys([*recipes, *(str(recipe_of(name).data) for name in recipes)])
    files = {}
    for text in data:
        name, equals, path = text.partition("=")
        if equals and (name in accepted or not Path(text).exists()):
            if name not in accepted:
                raise click.BadParameter(f"{name!r} is not one of {', '.join(accepted)}", param_hint="--data")
        elif len(names) == 1:
            name, path = names[0], text
        else:
            raise click.BadParameter(
                f"{text!r} does not say which data set it holds; use NAME={text} with one of {', '.join(accepted)}",
                param_hint="--data",
            )
        files[name] = str(Path(path).expanduser())
    return files


def _cost(study: "Study", missing: Any) -> str:
    """What training takes, in one line. A second line says whether other programs were busy."""
    from idgan.networks.modules import usable_device
    from idgan.study import training_seconds

    runs = f"{len(missing)} {'run' if len(missing) == 1 else 'runs'} to train at scale {study.scale}"
    if study.scale == "tiny":
        return runs
    device = usable_device("auto")
    note = busy_note(device.type)  # before this process is busy itself
    seconds = training_seconds(missing, device)
    if seconds is None:
        return f"{runs}: they do not fit into the memory of this {device.type}"
    time = f"{runs}: about {duration(seconds)} on this {device.type} by its measured speed, without metrics"
    return f"{time}\n{note}".rstrip()
