"""`idgan encode`, `reconstruct`, `edit`: codes from images, and images from these codes."""

from typing import TYPE_CHECKING

import click

from idgan.cli.options import (
    InputPath,
    OutputFile,
    crop_options,
    default_out,
    device_option,
    load_model,
    model_argument,
    parse_changes,
    say_json,
    threads_option,
)

if TYPE_CHECKING:
    from torch import Tensor

    from idgan.sampler import Sampler

images_argument = click.argument("images", nargs=-1, required=True, type=InputPath())
invert_option = click.option(
    "--invert", is_flag=True, help="Find what the code does not carry by optimization. Takes seconds per image."
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(0),
    default=200,
    show_default=True,
    help="Steps of --invert. More steps come closer to the image.",
)
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of what the code does not carry."
)


@click.command()
@model_argument
@images_argument
@crop_options
@click.option("--out", type=OutputFile(), help="JSON file to write.  [default: print the JSON]")
@threads_option
@device_option
def encode(model: str, images: tuple[str, ...], crop: bool | int, out: str | None, device: str) -> None:
    """Encode images.

    The output is JSON with mean and standard deviation of q(c|x) in every dimension.

    \b
    idgan encode dsprites sprite.png
    """
    import json

    from idgan.files import write_atomically

    sampler = load_model(model, device)
    posterior = sampler.posterior(list(images), crop=crop)
    rows = zip(images, posterior.mean.tolist(), (0.5 * posterior.logvar).exp().tolist())
    codes = [{"image": image, "mean": mean, "std": std} for image, mean, std in rows]
    result = {"model": model, "active_dims": sampler.active_dims, "codes": codes}
    if out:
        write_atomically(out, json.dumps(result, indent=2) + "\n")
        click.echo(f"{out}: codes of {sampler.c_dim} dimensions ({len(images)})")
    else:
        say_json(result)


def _inverted(
    sampler: "Sampler", images: list[str], invert: bool, steps: int, seed: int, crop: bool | int
) -> "tuple[Tensor, Tensor] | None":
    """The pair (c, s) that inversion finds, or None without `--invert`."""
    return sampler.invert(images, steps=steps, seed=seed, crop=crop) if invert else None


@click.command()
@model_argument
@images_argument
@invert_option
@steps_option
@seed_option
@click.option("--out", type=OutputFile(".png"), help="Picture to write.  [default: MODEL-reconstruction.png]")
@crop_options
@threads_option
@device_option
def reconstruct(
    model: str,
    images: tuple[str, ...],
    invert: bool,
    steps: int,
    seed: int,
    out: str | None,
    crop: bool | int,
    device: str,
) -> None:
    """Encode images and draw them again.

    The sheet shows the originals, the VAE decoder's images and the generator's images of the same codes. The decoder
    shows what the code carries. The generator adds the rest, drawn by --seed or found by --invert. The mean PSNR in
    dB is printed. Higher is better. For photos, see idgan edit --help.

    \b
    idgan reconstruct dsprites sprite.png
    idgan reconstruct celeba-64-w16 photos/*.jpg --crop --invert
    """
    from idgan.figures import reconstruction_sheet
    from idgan.images import as_batch, encoder_view, psnr, save_png

    path = out or default_out(model, "reconstruction.png")
    sampler, files = load_model(model, device), list(images)
    codes = _inverted(sampler, files, invert, steps, seed, crop)
    save_png(reconstruction_sheet(sampler, files, seed=seed, crop=crop, codes=codes), path)
    x = as_batch(files, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop).to(sampler.device)
    drawn = {} if "decoder" in sampler.untrained else {"decoder": sampler.decode(sampler.posterior(x).mean)}
    drawn["generator"] = sampler.reconstruct(x, seed=seed)
    if codes is not None:
        drawn["inverted"] = sampler.sample(*codes)
    scores = ", ".join(f"{name} {psnr(y, encoder_view(x, y.shape[-1])).mean():.1f}" for name, y in drawn.items())
    click.echo(f"{path}: originals and reconstructions ({len(files)}); PSNR {scores} dB")


@click.command()
@model_argument
@images_argument
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    callback=parse_changes,
    help="DIMENSION=AMOUNT, such as scale=+1.5 or 3=+1.5. `idgan dims MODEL` lists the names. Can be repeated.",
)
@click.option("--absolute", is_flag=True, help="AMOUNT is the new value. By default it is added.")
@invert_option
@steps_option
@seed_option
@click.option("--out", type=OutputFile(".png"), help="Picture to write.  [default: MODEL-edit.png]")
@crop_options
@threads_option
@device_option
def edit(
    model: str,
    images: tuple[str, ...],
    changes: dict[int | str, float],
    absolute: bool,
    invert: bool,
    steps: int,
    seed: int,
    out: str | None,
    crop: bool | int,
    device: str,
) -> None:
    """Change code dimensions of images.

    The sheet shows the originals, their reconstructions and the edits. `idgan traverse MODEL` shows what each
    dimension changes.

    The code carries a part of an image. The rest is drawn by --seed, or found by --invert. Only with --invert is the
    reconstruction of a face the same person.

    A photo must be cut like the images that the model learned from. Models of CelebA expect an upright square. The
    eyes are at 37% and 63% of its width and 52% of its height, the mouth is at 79%. So the square is about four times
    as wide as the distance of the eyes, with the face a little below the middle. --crop cuts the largest center
    square, --crop-side a smaller one. For CelebA's own files of 178 x 218 pixels it is 160.

    \b
    idgan edit dsprites sprite.png --set 0=+1.5
    idgan edit celeba-64-w16 photo.jpg --crop --invert --set 15=+2
    idgan edit celeba-64-w16 000001.jpg --crop-side 160 --invert --set 15=+2
    """
    from idgan.figures import edit_sheet
    from idgan.images import save_png

    path = out or default_out(model, "edit.png")
    sampler, files = load_model(model, device), list(images)
    sampler.changed([0.0] * sampler.c_dim, changes, absolute=absolute)  # check the dimensions before the work
    codes = _inverted(sampler, files, invert, steps, seed, crop)
    save_png(edit_sheet(sampler, files, changes, absolute=absolute, seed=seed, crop=crop, codes=codes), path)
    edits = ", ".join(f"{dim} = {value:g}" if absolute else f"{dim} {value:+g}" for dim, value in changes.items())
    click.echo(f"{path}: originals, reconstructions, and edits of dimension {edits}")
