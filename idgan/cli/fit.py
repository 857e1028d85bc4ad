"""`idgan train`: from data to a checkpoint."""

import click

from idgan.cli.options import device_option


def _settings(context, parameter, texts):
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(
                f"{text!r} is not PATH=VALUE, such as gan_stage.objective.id_weight=1e-4", context, parameter
            )
        settings[path.strip()] = value.strip()
    return settings


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option(
    "--out", type=click.Path(file_okay=False), help="Run directory.  [default: runs/RECIPE, runs/RECIPE-METHOD ]"
)
@click.option(
    "--method",
    default="id-gan",
    show_default=True,
    help="What to train by RECIPE's settings: one of the methods above.",
)
@click.option(
    "--stage",
    type=click.Choice(["all", "vae", "gan"]),
    default="all",
    show_default=True,
    help="1: the encoder; 2: the GAN.",
)
@click.option(
    "--vae",
    metavar="MODEL",
    help="Take the encoder of a checkpoint, or of a run whose stage 1 is done, instead of training one.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the stage (of both, with --stage all).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a step, over all processes.")
@click.option("--seed", type=click.IntRange(min=0), help="Of initial weights, data order and noise.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    callback=_settings,
    help="Any field of the recipe, as PATH=VALUE; repeat it. --dry-run lists them.",
)
@click.option("--data", help="Where the data set's files are, if it has any: a directory, a file, or hf:org/name.")
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option(
    "--compile",
    is_flag=True,
    help="Compile the networks, which takes minutes at first. Steps with R1 are computed without.",
)
@click.option("--no-evaluate", is_flag=True, help="Skip the metrics at the end.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print all settings, sizes, operations, memory and the time it would take here; write nothing.",
)
def train(
    recipe,
    out,
    method,
    stage,
    vae,
    steps,
    batch_size,
    seed,
    settings,
    data,
    device,
    threads,
    compile,
    no_evaluate,
    dry_run,
):
    """Train RECIPE. Stage 1 (the encoder), stage 2 (the GAN on the frozen encoder), metrics, and one checkpoint file.

    Run the same command again to continue an interrupted run. Logs are in OUT/vae and OUT/gan (log.jsonl, samples/), and the result,
    which every command takes as MODEL, is OUT.

    \b
    Methods of two stages: id-gan, without-distillation, cgan. Of one, in OUT/gan: end-to-end, vae-gan, gan, infogan;
    in OUT/vae: vae, beta-vae, capacity-vae, factor-vae, beta-tcvae.

    \b
    idgan train dsprites --out runs/mine
    idgan train dsprites --out runs/quick --stage vae --steps 2000 --set vae_stage.batch_size=32
    idgan train celeba-128 --vae runs/celeba-64
    idgan train dsprites --method vae-gan
    idgan train celebahq-1024 --dry-run
    idgan train celeba-256 --set gan_stage.accumulation_steps=4      a batch in 4 parts, in a fourth of the memory
    idgan train celeba-64 --set gan_stage.objective.r1_interval=16      lazy R1: at every 16th step, 16 times as strong
    idgan train celeba-64 --set gan_stage.precision=bf16     or tf32 (on CUDA), or fp32; each stage has its own
    torchrun --nproc-per-node=2 -m idgan train dsprites --out runs/two
    """
    import idgan
    from idgan.recipes import apply_method, override, recipe_of
    from idgan.training.distributed import is_leader
    from idgan.training.run import refuse_stage

    chosen = apply_method(recipe_of(recipe), method)
    refuse_stage(chosen, stage, vae)
    stages = chosen.stages if stage == "all" else (stage,)
    settings = dict(settings)
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value is not None:
            settings |= {f"{part}_stage.{name}": value for part in stages}
    if seed is not None:
        settings["seed"] = seed
    if dry_run:
        _preview(
            override(chosen, settings),
            [part for part in stages if vae is None or part != "vae"],
            data,
            device,
            threads,
            compile,
        )
        return
    options = {"data": data, "device": device, "threads": threads, "compile": compile, "measure": not no_evaluate}
    out = out or f"runs/{recipe}" + ("" if method == "id-gan" else f"-{method}")
    path = idgan.train(recipe, out, method=method, stage=stage, vae=vae, settings=settings, **options)
    if is_leader():
        click.echo(
            f"{path}: done. Look at its pictures, or: idgan traverse {path}"
            if stage != "vae"
            else f"{path}: stage 1 is done"
        )


def _preview(recipe, stages, data, device, threads, compile):
    """Print what training the `stages` of `recipe` would take."""
    from idgan.data import open_dataset
    from idgan.errors import DataError
    from idgan.networks.modules import usable_device
    from idgan.recipes import describe
    from idgan.training.estimate import Noise, cost_of, largest_batch, parameters_of, seconds_a_step
    from idgan.training.run import cpu

    device, missing = usable_device(device), None
    try:
        dataset = open_dataset(recipe.data, data)
    except DataError as error:
        if data is not None:
            raise
        dataset, missing = Noise(recipe), error
    for path, value in describe(recipe).items():
        click.echo(f"{path}={value}")
    click.echo("\nparameters  " + ", ".join(f"{name} {count:,}" for name, count in parameters_of(recipe).items()))
    if missing:
        click.echo(f"images      timed on random ones instead of {recipe.data}: {missing}")
    for name in stages:
        stage, cost = getattr(recipe, f"{name}_stage"), cost_of(recipe, name)
        click.echo(
            f"{name} stage   {stage.steps:,} steps at batch size {stage.batch_size}, each {cost.flops / 1e9:,.1f} GFLOP, ",
            nl=False,
        )
        click.echo(f"in {cost.memory / 2**30:.2f} GiB of tensors (float32; the process takes more)")
        timed = largest_batch(recipe, name, cost, device)
        if timed is None:
            click.echo(f"            not timed: it does not fit into the free memory of this {device.type}")
            continue
        size = getattr(timed, f"{name}_stage").batch_size
        with cpu(threads):
            seconds = seconds_a_step(timed, name, dataset, device, compile=compile) * stage.batch_size / size
        how = "" if size == stage.batch_size else f", measured at batch size {size}"
        click.echo(
            f"            {seconds:.3g} s a step here{how}: {_duration(seconds * stage.steps)} in all, without metrics and pictures"
        )


def _duration(seconds):
    """A duration in the unit that suits it."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.1f} seconds"
