"""`idgan sample`, `traverse`, `encode`, `reconstruct`, `edit`: images from codes and codes from images."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idgan.cli.options import (
    InputPath,
    OutputDirectory,
    OutputFile,
    default_out,
    device_option,
    model_argument,
    parse_changes,
    parse_numbers,
    say_json,
    threads_option,
)

if TYPE_CHECKING:
    from torch import Tensor

    from idgan.sampler import Sampler

MAX_TILES = 1000
"""Largest number of images on one sheet. More would take too much memory."""

Command = Callable[..., Any]

prior_option = click.option(
    "--prior",
    type=click.Choice(["aggregated", "normal"]),
    default="aggregated",
    show_default=True,
    help="Distribution of the codes.",
)
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


def crop_options(command: Command) -> Command:
    """`--crop` and `--crop-side`, as one parameter `crop` of `as_batch`."""

    @click.option("--crop", is_flag=True, help="Cut images that are not square to their center square.")
    @click.option(
        "--crop-side", type=click.IntRange(min=1), metavar="PX", help="Cut images to a center square of PX pixels."
    )
    @wraps(command)
    def with_crop(crop: bool, crop_side: int | None, **options: Any) -> Any:
        return command(crop=crop_side or crop, **options)

    return with_crop


def _load(model: str, device: str) -> "Sampler":
    import idgan

    return idgan.load(model, device=device)


def _if_decoder(sampler: "Sampler", text: str) -> str:
    """`text` about the decoder's panel, or "" without a trained decoder."""
    return "" if "decoder" in sampler.untrained else text


@click.command()
@model_argument
@click.option(
    "--seeds", callback=parse_numbers, help="One image per seed, such as 0-15,42.  [default: 0-35; with --grid 0-7]"
)
@prior_option
@click.option(
    "--grid", is_flag=True, help="Show every code with every nuisance: one code per row, one nuisance per column."
)
@click.option("--out", type=OutputFile(".png"), help="Picture to write.  [default: MODEL-samples.png, MODEL-grid.png]")
@click.option("--separate", type=OutputDirectory(), help="Write one PNG per seed into this directory.")
@threads_option
@device_option
def sample(
    model: str, seeds: list[int] | None, prior: str, grid: bool, out: str | None, separate: str | None, device: str
) -> None:
    """Draw samples.

    A sheet shows images of the generator, and the VAE decoder's images of the same codes.

    Images above 256x256 are reduced on sheets. With --separate, any number of images is written at full size.

    \b
    idgan sample dsprites
    idgan sample dsprites --seeds 0-99 --out samples.png
    idgan sample dsprites --grid
    idgan sample dsprites --seeds 7,42 --separate images/
    """
    import torch

    from idgan.figures import code_grid_sheet, sample_sheet
    from idgan.images import save_png

    seeds = seeds or list(range(8 if grid else 36))
    tiles = len(seeds) ** 2 if grid else len(seeds)
    if separate and (out or grid):
        raise click.UsageError("--separate writes one file per seed, so it excludes --out and --grid")
    if tiles > MAX_TILES and not separate:
        raise click.UsageError(f"{tiles:,} images exceed the limit of {MAX_TILES:,} per sheet; use --separate")
    path = out or default_out(model, "grid.png" if grid else "samples.png")
    sampler = _load(model, device)
    if separate:
        _sample_separately(sampler, model, seeds, prior, separate)
        return
    c, s = (torch.cat(parts) for parts in zip(*(sampler.codes(1, seed, prior) for seed in seeds)))
    if grid:
        save_png(code_grid_sheet(sampler, c, s), path)
        panels = _if_decoder(sampler, "; left: VAE decoder")
        click.echo(f"{path}: {len(seeds)} codes (rows) x {len(seeds)} nuisances (columns) of {model}{panels}")
    else:
        save_png(sample_sheet(sampler, c, s), path)
        panels = _if_decoder(sampler, "; left: generator, right: VAE decoder for the same codes")
        click.echo(f"{path}: samples of {model} ({len(seeds)}){panels}")


def _sample_separately(sampler: "Sampler", model: str, seeds: list[int], prior: str, directory: str) -> None:
    from idgan.images import save_png
    from idgan.progress import progress

    for seed in progress(seeds, "sampling", "image"):
        save_png(sampler.sample(seed=seed, prior=prior)[0], Path(directory) / f"seed{seed:06d}.png")
    size = f"{sampler.resolution}x{sampler.resolution}"
    click.echo(f"{directory}: samples of {model} ({len(seeds)}), {size}, one file per seed")


@click.command()
@model_argument
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the code to start from."
)
@click.option("--image", type=InputPath(), help="Start from the code of this image.")
@click.option(
    "--dims",
    callback=parse_numbers,
    help="Code dimensions, such as 0,3-5.  [default: the active ones, largest KL first]",
)
@click.option(
    "--span", nargs=2, type=float, default=(-3.0, 3.0), show_default=True, help="First and last value of a dimension."
)
@click.option(
    "--steps", type=click.IntRange(2, 100), default=9, show_default=True, help="Number of images per dimension."
)
@click.option(
    "--out",
    type=OutputFile(".png", ".gif"),
    help="PNG for a sheet, GIF for an animation.  [default: MODEL-traversals.png]",
)
@crop_options
@threads_option
@device_option
def traverse(
    model: str,
    seed: int,
    image: str | None,
    dims: list[int] | None,
    span: tuple[float, float],
    steps: int,
    out: str | None,
    crop: bool | int,
    device: str,
) -> None:
    """Show what each code dimension changes.

    Each row sweeps one dimension over SPAN, with everything else fixed.

    \b
    idgan traverse dsprites
    idgan traverse dsprites --seed 3 --out dsprites.gif
    idgan traverse dsprites --image sprite.png --dims 0,4
    """
    from idgan.figures import traversal_frames, traversal_sheet
    from idgan.images import save_gif, save_png

    path = Path(out or default_out(model, "traversals.png"))
    sampler = _load(model, device)
    dims = sampler.traversal_dims(dims)
    c = sampler.encode(image, crop=crop) if image else None
    if path.suffix.lower() == ".gif":
        save_gif(traversal_frames(sampler, c, dims=dims, span=span, steps=steps, seed=seed), path)
        layout = "one tile per dimension, forward and back"
    else:
        save_png(traversal_sheet(sampler, c, dims=dims, span=span, steps=steps, seed=seed), path)
        layout = "one row per dimension" + _if_decoder(sampler, "; left: generator, right: VAE decoder")
    click.echo(f"{path}: dimensions {', '.join(map(str, dims))} from {span[0]:g} to {span[1]:g}; {layout}")


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

    sampler = _load(model, device)
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
    sampler, files = _load(model, device), list(images)
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
    help="DIMENSION=AMOUNT, such as 3=+1.5. Can be repeated.",
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
    changes: dict[int, float],
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
    sampler, files = _load(model, device), list(images)
    sampler.changed([0.0] * sampler.c_dim, changes, absolute=absolute)  # check the dimensions before the work
    codes = _inverted(sampler, files, invert, steps, seed, crop)
    save_png(edit_sheet(sampler, files, changes, absolute=absolute, seed=seed, crop=crop, codes=codes), path)
    edits = ", ".join(f"{dim} = {value:g}" if absolute else f"{dim} {value:+g}" for dim, value in changes.items())
    click.echo(f"{path}: originals, reconstructions, and edits of dimension {edits}")
