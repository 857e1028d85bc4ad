"""`idgan convert`, `export`: import the reference implementation's checkpoints, export networks to other runtimes."""

from collections.abc import Iterable

import click

from idgan.cli.options import InputPath, OutputFile, check_output, model_argument, threads_option, title_of


@click.command()
@click.option("--vae", required=True, type=InputPath(), help="The reference's stage-1 checkpoint.")
@click.option(
    "--gan", required=True, type=InputPath(), help="The reference's stage-2 checkpoint. Its moving average is used."
)
@click.option("--out", required=True, type=OutputFile(".safetensors"), help="The .safetensors file to write.")
@click.option("--name", help="Name of the model.  [default: the file's name]")
@click.option("--data", metavar="NAME", help="The data set it was trained on, for the bank of posteriors.")
@click.option("--data-path", type=InputPath(dir_okay=True), help="Path of the data set's files, if it has any.")
@threads_option
def convert(vae: str, gan: str, out: str, name: str | None, data: str | None, data_path: str | None) -> None:
    """Import checkpoints of the reference implementation.

    A pair of files, VAE and GAN, becomes one MODEL. Every key and shape is checked. The converted networks must compute
    the same as the original layers. The files are pickles, but no code in them is run.

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
    "--format",
    type=click.Choice(["onnx", "torchscript", "exported-program", "web"]),
    default="onnx",
    show_default=True,
    help="web is a page that runs the model in a browser.",
)
@click.option(
    "--part", type=click.Choice(["generator", "decoder", "encoder"]), help="The network to write.  [default: generator]"
)
@click.option("--out", required=True, type=click.Path(), help="The file to write. With --format web, the directory.")
@click.option(
    "--runtime",
    type=InputPath(dir_okay=True),
    help="With --format web: the npm package onnxruntime-web.  [default: node_modules/onnxruntime-web]",
)
@threads_option
def export(model: str, format: str, part: str | None, out: str, runtime: str | None) -> None:
    """Export a network of MODEL for other runtimes.

    The generator takes c, and s if the model has a nuisance, and returns images in [0, 1]. The decoder takes c. The
    encoder takes images in [0, 1], 64x64 in the paper's models, and returns mean and log-variance of their codes.
    Batches may have any size. The outputs of the file are compared with those of the model. ONNX needs the extra
    `export`.

    --format web writes a static page with sliders, the generator and the decoder. Any web server can serve it, and the
    model runs in the browser. The page includes two files of the npm package onnxruntime-web.

    \b
    idgan export dsprites --out dsprites.onnx
    idgan export dsprites --part encoder --format torchscript --out encoder.pt
    npm install --no-save onnxruntime-web
    idgan export dsprites --format web --out page
    python -m http.server --directory page
    """
    from idgan import zoo

    if format != "web" and runtime:
        raise click.UsageError("--runtime goes with --format web")
    if format == "web" and part:
        raise click.UsageError("--format web writes generator and decoder, so it excludes --part")
    path = check_output(out, directory=format == "web")
    if format == "web":
        from idgan.zoo.web import write_web_page

        result = write_web_page(zoo.load(model, device="cpu"), path, name=title_of(model), runtime=runtime)
        click.echo(f"{path}: a page of {model} with {result['runtime']}, {result['bytes']:,} bytes")
        click.echo(f"to look at it: python -m http.server --directory {path}")
    else:
        from idgan.zoo.export import export as write

        part = part or "generator"
        result = write(zoo.load(model, device="cpu"), path, part=part, format=format)
        inputs, outputs = (
            ", ".join(f"{name} {_shape(shape)}" for name, shape in result[side].items())
            for side in ("inputs", "outputs")
        )
        click.echo(f"{path}: {part} of {model}, {result['bytes']:,} bytes; {inputs} -> {outputs}")
    differences = ", ".join(f"{name} {value:.1e}" for name, value in result["differences"].items())
    click.echo(f"largest difference from the model: {differences}")


def _shape(shape: Iterable[object]) -> str:
    return f"({', '.join(map(str, shape))})"
