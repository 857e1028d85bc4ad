"""`idgan train`, `evaluate`: from data to a measured checkpoint."""

import click

from idgan.cli.options import default_out, device_option, model_argument


def _settings(context, parameter, texts):
    settings = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not PATH=VALUE, such as gan_stage.objective.id_weight=1e-4", context, parameter)
        settings[path.strip()] = value.strip()
    return settings


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--out", type=click.Path(file_okay=False), help="Run directory.  [default: runs/RECIPE]")
@click.option("--stage", type=click.Choice(["all", "vae", "gan"]), default="all", show_default=True, help="1: the encoder; 2: the GAN.")
@click.option("--vae", metavar="MODEL", help="Take the encoder of a checkpoint, or of a run whose stage 1 is done, instead of training one.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of the stage (of both, with --stage all).")
@click.option("--batch-size", type=click.IntRange(min=1), help="Images a step, over all processes.")
@click.option("--seed", type=click.IntRange(min=0), help="Of initial weights, data order and noise.")
@click.option("--set", "settings", multiple=True, callback=_settings, help="Any field of the recipe, as PATH=VALUE; repeat it. See --show.")
@click.option("--data", help="Where the data set's files are, if it has any: a directory, a file, or hf:org/name.")
@device_option
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@click.option("--no-evaluate", is_flag=True, help="Skip the metrics at the end.")
@click.option("--show", is_flag=True, help="Print the resolved recipe and stop.")
def train(recipe, out, stage, vae, steps, batch_size, seed, settings, data, device, threads, no_evaluate, show):
    """Train RECIPE. Stage 1 (the encoder), stage 2 (the GAN on the frozen encoder), metrics, and one checkpoint file.

    Run the same command again to continue an interrupted run. Logs are in OUT/vae and OUT/gan (log.jsonl, samples/), and the result,
    which every command takes as MODEL, is OUT.

    \b
    idgan train dsprites --out runs/mine
    idgan train dsprites --out runs/quick --stage vae --steps 2000 --set vae_stage.batch_size=32
    idgan train celeba-128 --vae runs/celeba-64
    torchrun --nproc-per-node=2 -m idgan train dsprites --out runs/two
    """
    import idgan
    from idgan.recipes import describe, override, recipe_of

    stages = ("vae", "gan") if stage == "all" else (stage,)
    settings = dict(settings)
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if value is not None:
            settings |= {f"{part}_stage.{name}": value for part in stages}
    if seed is not None:
        settings["seed"] = seed
    if show:
        for path, value in describe(override(recipe_of(recipe), settings)).items():
            click.echo(f"{path}={value}")
        return
    options = {"data": data, "device": device, "threads": threads, "measure": not no_evaluate}
    path = idgan.train(recipe, out or f"runs/{recipe}", stage=stage, vae=vae, settings=settings, **options)
    click.echo(f"{path}: done. Look at its pictures, or: idgan traverse {path}" if stage != "vae" else f"{path}: stage 1 is done")


@click.command()
@model_argument
@click.option(
    "--metrics", help="Of fvm, fvm-dlib, mig, alignment, r_id, sap, beta-vae, dci.  [default: those that apply, without the last three]"
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--data", help="Where the data set's files are, if it has any: a directory, a file, or hf:org/name.")
@click.option("--out", type=click.Path(dir_okay=False), help="The JSON to write.  [default: results.json of a run, MODEL-results.json]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.")
@device_option
def evaluate(model, metrics, seed, data, out, threads, device):
    """Measure MODEL. A table on the terminal, and JSON with every value's protocol, samples, seed and versions.

    \b
    idgan evaluate dsprites
    idgan evaluate runs/mine --metrics mig,fvm
    """
    from pathlib import Path

    import torch

    from idgan import zoo
    from idgan.data import open_dataset
    from idgan.training.bundle import write_results
    from idgan.training.evaluation import evaluate as measure

    if threads:
        torch.set_num_threads(threads)
    found = zoo.find(model)
    sampler = zoo.load(found.path, device=device)
    source = open_dataset(str(sampler.info.get("data")), data)
    results = measure(sampler, source, metrics.split(",") if metrics else None, seed=seed)
    for result in results:
        click.echo(str(result))
    path = out or (Path(model) / "results.json" if Path(model).is_dir() else default_out(model, "results.json"))
    write_results(path, found.name, found.path, [result.to_dict() for result in results])
    click.echo(f"{path}: the same as JSON")
