"""`idgan train`: from data to a checkpoint."""

import os
import sys
from typing import Any

import click

from idgan.cli.options import ARGUMENTS, OutputDirectory, busy_note, data_option, device_option, duration

MAX_SEED = 2**64 - 1
LONG = 30 * 86_400
"""A dry run warns of a training that takes more seconds."""
SMALL = ("celeba-64-w16", "dsprites")
"""Recipes that take hours on a CPU."""


def _settings(context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(
                f"{text!r} is not PATH=VALUE, such as gan_stage.objective.id_weight=1e-4", context, parameter
            )
        settings[path.strip()] = value.strip()
    return settings


class TrainCommand(click.Command):
    """A command whose help lists the registered methods, each with the first sentence of its docstring."""

    def format_help(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        from idgan.recipes import METHODS
        from idgan.registry import load_plugins

        load_plugins()
        super().format_help(context, formatter)
        summaries = [((method.__doc__ or "").split("\n\n")[0]) for method in METHODS.values()]
        rows = [(name, " ".join(text.replace("`", "").split())) for name, text in zip(METHODS, summaries)]
        with formatter.section("Methods"):
            formatter.write_dl(rows)


@click.command(cls=TrainCommand)
@click.argument("recipe", metavar="RECIPE")
@click.option("--out", type=OutputDirectory(), help="Run directory.  [default: runs/RECIPE, runs/RECIPE-METHOD]")
@click.option(
    "--method", default="id-gan", show_default=True, help="One of the methods below, with the settings of RECIPE."
)
@click.option(
    "--stage",
    type=click.Choice(["all", "vae", "gan"]),
    default="all",
    show_default=True,
    help="Stage 1 (vae), stage 2 (gan) or both.",
)
@click.option(
    "--vae",
    metavar="MODEL",
    help="Replace stage 1 by the VAE of a checkpoint, or of a run with a finished stage 1.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the stage, or of both with --stage all.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images in a batch, summed over all processes.")
@click.option("--seed", type=click.IntRange(min=0, max=MAX_SEED), help="Seed of initial weights, data order and noise.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_settings,
    help="Any setting of the recipe, as PATH=VALUE. --dry-run lists them. Can be repeated.",
)
@data_option
@device_option
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes on this machine, one for each GPU. They share each batch.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option(
    "--compile",
    is_flag=True,
    help="Compile the networks, which takes minutes at the start. Steps with R1 are not compiled.",
)
@click.option("--no-evaluate", is_flag=True, help="Skip the metrics at the end.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print all settings, parameter counts, FLOPs, memory and time on this machine. Write nothing.",
)
def train(
    recipe: str,
    out: str | None,
    method: str,
    stage: str,
    vae: str | None,
    steps: int | None,
    batch_size: int | None,
    seed: int | None,
    settings: dict[str, Any],
    data: Any,
    device: str,
    processes: int,
    threads: int | None,
    compile: bool,
    no_evaluate: bool,
    dry_run: bool,
) -> None:
    """Train RECIPE.

    Stage 1 trains a VAE. Its encoder maps an image to a code c. Stage 2 freezes the encoder and trains a GAN. Its
    generator makes sharp images from which the encoder can recover c. At the end, the metrics are measured.

    RECIPE is a name from `idgan list`, a registered recipe of your own, or MODULE:NAME of one.

    \b
    Look first. This shows every setting, and the time on this machine:
      idgan train dsprites --dry-run
    Train. Ctrl-C saves the state, and the same command resumes:
      idgan train dsprites --out runs/mine
    Watch. OUT/vae and OUT/gan hold pictures and log.jsonl of each stage:
      idgan plot runs/mine
    Use the result, OUT/model.safetensors, wherever a MODEL is expected:
      idgan traverse runs/mine

    \b
    Change the length, the batch or any other setting:
      idgan train dsprites --stage vae --steps 2000 --batch-size 32
      idgan train dsprites --set gan_stage.objective.id_weight=1e-4
    Train a method that the paper compares ID-GAN with:
      idgan train dsprites --method vae-gan
    Use the encoder of another run, on images of other sizes too:
      idgan train celeba-128 --vae runs/celeba-64
    Several processes on this machine, one for each GPU. torchrun works too:
      idgan train celeba-64 --processes 2
    A batch in 4 parts, with about a quarter of the memory for activations:
      idgan train celeba-256 --set gan_stage.accumulation_steps=4
    Lazy R1 at every 16th step, with 16 times the weight:
      idgan train celeba-64 --set gan_stage.objective.r1_interval=16
    Precision of a stage, one of fp32, bf16 and (on CUDA) tf32:
      idgan train celeba-64 --set gan_stage.precision=bf16
    """
    import idgan
    from idgan.recipes import apply_method, override, recipe_of
    from idgan.training.distributed import is_leader
    from idgan.training.entry import check_stage, with_data

    parent, files = with_data(recipe_of(recipe), data)
    chosen = apply_method(parent, method)
    check_stage(chosen, stage, vae)
    stages = [*chosen.stages] if stage == "all" else [stage]
    settings = dict(settings)
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value is not None:
            settings |= {f"{part}_stage.{name}": value for part in stages}
    if seed is not None:
        settings["seed"] = seed
    if dry_run:
        trained = [part for part in stages if vae is None or part != "vae"]
        _preview(override(chosen, settings), trained, files, device, threads, compile)
        return
    if processes > 1 and "RANK" not in os.environ:  # the processes themselves have a rank
        from idgan.training.launch import run_processes

        arguments = click.get_current_context().meta[ARGUMENTS]
        raise SystemExit(run_processes([sys.executable, "-m", "idgan", *arguments], processes))
    name = recipe.rpartition(":")[2]
    out = out or f"runs/{name}" + ("" if method == "id-gan" else f"-{method}")
    path = idgan.train(
        recipe,
        out,
        method=method,
        stage=stage,
        vae=vae,
        settings=settings,
        data=data,
        device=device,
        threads=threads,
        compile=compile,
        measure=not no_evaluate,
    )
    if is_leader():
        if stage == "vae":
            click.echo(f"{path}: stage 1 is done")
        else:
            click.echo(f"{path}: done. Look at its pictures, or run: idgan traverse {path}")


def _preview(recipe: Any, stages: list[str], files: Any, device: str, threads: int | None, compile: bool) -> None:
    """Print the settings of `recipe` and the cost of its `stages`."""
    from idgan.data import open_dataset
    from idgan.errors import DataError
    from idgan.networks.modules import usable_device
    from idgan.recipes import describe
    from idgan.training.estimate import Noise, cost_of, largest_batch, parameters_of, seconds_per_step
    from idgan.training.setup import check_images, cpu_settings

    usable, missing = usable_device(device), None
    note = busy_note(usable.type)  # before this process is busy itself
    try:
        dataset = open_dataset(recipe.data, files)
    except DataError as error:
        if files is not None:
            raise
        dataset, missing = Noise(recipe), error
    else:
        check_images(recipe, dataset, stages)
    lines, total = [], 0.0
    lines.append("parameters  " + ", ".join(f"{name} {count:,}" for name, count in parameters_of(recipe).items()))
    if missing:
        lines.append(f"images      timed on random ones instead of {recipe.data}: {missing}")
    for name in stages:
        stage, cost = recipe.stages[name], cost_of(recipe, name)
        lines.append(
            f"{name} stage   {stage.steps:,} steps at batch size {stage.batch_size}, "
            f"each {cost.flops / 1e9:,.1f} GFLOP, "
            f"in {cost.memory / 2**30:.2f} GiB of tensors (float32; the process takes more)"
        )
        timed = largest_batch(recipe, name, cost, usable)
        if timed is None:
            lines.append(f"            not timed: it does not fit into the free memory of this {usable.type}")
            continue
        size = timed.stages[name].batch_size
        with cpu_settings(threads):
            seconds = seconds_per_step(timed, name, dataset, usable, compile=compile) * stage.batch_size / size
        measured = "" if size == stage.batch_size else f", measured at batch size {size}"
        total += seconds * stage.steps
        lines.append(
            f"            {seconds:.3g} s a step here{measured}: {duration(seconds * stage.steps)} in all, "
            "without metrics and pictures"
        )
    if total > LONG:  # first, so that nobody overlooks it
        smaller = "" if recipe.name in SMALL else f", or train a small recipe ({' or '.join(SMALL)})"
        click.echo(
            f"{recipe.name} takes {duration(total)} on this {usable.type}. "
            f"Use {'a faster one' if usable.type == 'cuda' else 'a GPU'}{smaller}.\n"
        )
    for path, value in describe(recipe).items():
        click.echo(f"{path}={value}")
    click.echo()
    for line in lines:
        click.echo(line)
    if total and note:
        click.echo(note)
