"""`idgan convert`, `export`: import the reference implementation's checkpoints, export networks to other runtimes."""

from collections.abc import Iterable

import click

from idgan.cli.options import InputPath, OutputFile, model_argument, threads_option


@click.command()
@click.option("--vae", required=True, type=InputPath(), help="The reference's stage-1 checkpoint.")
@click.option(
    "--gan", required=True, type=InputPath(), help="The reference's stage-2 checkpoint. Its moving average is used."
)
@click.option("--out", required=True, type=OutputFile(".safetensors"), help="The .safetensors file to write.")
@click.option("--name", help="What to call the model.  [default: the file's name]")
@click.option("--data", metavar="NAME", help="The data set it was trained on, for the bank of posteriors.")
@click.option("--data-path", type=InputPath(dir_okay=True), help="Path of the data set's files, if it has any.")
@threads_option
def convert(vae: str, gan: str, out: str, name: str | None, data: str | None, data_path: str | None) -> None:
    """Import checkpoints of the reference implementation.

    A pair of files, VAE and GAN, becomes one MODEL. Every key and shape is checked. The converted networks are run
    against the original layers and must compute the same. The files are pickles. They are read as plain data, and
    nothing in them is run.

    \b
    idgan convert --vae vae/last --gan gan/model.pt --out mine.safetensors
    """
    from idgan.zoo import legacy
    from idgan.zoo.weights import write_checkpoint

    sampler = legacy.convert(vae, gan, data=data, data_path=data_path, name=name)
    path = write_checkpoint(out, sampler)
    origin = sampler.info["training"]["converted_from"]
    steps = f"VAE of {origin['vae']['steps']:,} steps, GAN of {origin['gan']['steps']:,}"
    image = f"{sampler.image_channels} x {sampler.resolution} x {sampler.resolution}"
    shape = f"c {sampler.c_dim}, s {sampler.s_dim} -> {image}"
    click.echo(f"{path}: {shape}; {steps}. Its networks compute what the original layers compute")
    if data is None:
        click.echo(
            "Without --data there are no posteriors of training images. Codes are drawn from the normal prior, "
            "and every dimension counts as active"
        )


@click.command()
@model_argument
@click.option(
    "--format", type=click.Choice(["onnx", "torchscript", "exported-program"]), default="onnx", show_default=True
)
@click.option("--part", type=click.Choice(["generator", "encoder"]), default="generator", show_default=True)
@click.option("--out", required=True, type=OutputFile(), help="The file to write.")
@threads_option
def export(model: str, format: str, part: str, out: str) -> None:
    """Write a network of MODEL for other runtimes.

    The generator takes c, and s if the model has a nuisance, and returns images in [0, 1]. The encoder takes 64x64
    images in [0, 1] and returns the mean and the log-variance of their codes. Batches may have any size. The file is
    run and compared with the model at two batch sizes. ONNX needs the extra `export`.

    \b
    idgan export dsprites --out dsprites.onnx
    idgan export dsprites --part encoder --format torchscript --out encoder.pt
    """
    from idgan import zoo
    from idgan.zoo.export import export as write

    result = write(zoo.load(model, device="cpu"), out, part=part, format=format)
    inputs, outputs = (
        ", ".join(f"{name} {_shape(shape)}" for name, shape in result[side].items()) for side in ("inputs", "outputs")
    )
    differences = ", ".join(f"{name} {value:.1e}" for name, value in result["differences"].items())
    click.echo(f"{out}: {part} of {model}, {result['bytes']:,} bytes; {inputs} -> {outputs}")
    click.echo(f"largest difference from the model: {differences}")


def _shape(shape: Iterable[object]) -> str:
    return f"({', '.join(map(str, shape))})"
