"""`idgan sample`, `traverse`, `interpolate`: images from codes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from idgan.cli.options import (
    ANIMATIONS,
    PICTURES,
    InputPath,
    OutputDirectory,
    OutputFile,
    align_both_options,
    align_options,
    crop_options,
    default_out,
    device_option,
    if_decoder,
    load_model,
    model_argument,
    parse_dims,
    parse_numbers,
    threads_option,
)
from idgan.errors import InvalidInputError

if TYPE_CHECKING:
    from torch import Tensor

    from idgan.sampler import Sampler

MAX_COLUMNS = 100
"""Largest number of images in a row of a picture."""
MAX_TILES = 1000
"""Largest number of images on one sheet. More would take too much memory."""

prior_option = click.option(
    "--prior",
    type=click.Choice(["aggregated", "normal"]),
    default="aggregated",
    show_default=True,
    help="Distribution of the codes.",
)


@click.command()
@model_argument
@click.option(
    "--seeds", callback=parse_numbers, help="One image per seed, such as 0-15,42.  [default: 0-35; with --grid 0-7]"
)
@prior_option
@click.option(
    "--grid", is_flag=True, help="Show every code with every nuisance: one code per row, one nuisance per column."
)
@click.option(
    "--out",
    type=OutputFile(*PICTURES),
    help="Picture to write (.png, .jpg, .webp).  [default: MODEL-samples.png, MODEL-grid.png]",
)
@click.option("--separate", type=OutputDirectory(), help="Write one PNG per seed into this directory.")
@threads_option
@device_option
def sample(
    model: str, seeds: list[int] | None, prior: str, grid: bool, out: str | None, separate: str | None, device: str
) -> None:
    """Generate samples.

    A sheet shows the generator's images with their seeds, and the VAE decoder's images of the same codes.

    Images above 256x256 are reduced on sheets. --separate writes any number of images at full size.

    \b
    idgan sample dsprites
    idgan sample dsprites --seeds 0-99 --out samples.png
    idgan sample dsprites --grid
    idgan sample dsprites --seeds 7,42 --separate images/
    """
    import torch

    from idgan.figures import code_grid_sheet, sample_sheet
    from idgan.images import save_image

    seeds = seeds or list(range(8 if grid else 36))
    tiles = len(seeds) ** 2 if grid else len(seeds)
    if separate and (out or grid):
        raise click.UsageError("--separate writes one file per seed, so it excludes --out and --grid")
    if tiles > MAX_TILES and not separate:
        raise click.UsageError(f"{tiles:,} images exceed the limit of {MAX_TILES:,} per sheet; use --separate")
    path = separate or out or default_out(model, "grid.png" if grid else "samples.png")
    sampler = load_model(model, device)
    if separate:
        _sample_separately(sampler, model, seeds, prior, separate)
        return
    c, s = (torch.cat(parts) for parts in zip(*(sampler.codes(1, seed, prior) for seed in seeds)))
    labels = [f"seed {seed}" for seed in seeds]
    if grid:
        save_image(code_grid_sheet(sampler, c, s, labels), path)
        panels = if_decoder(sampler, "; left: VAE decoder")
        click.echo(f"{path}: {len(seeds)} codes (rows) x {len(seeds)} nuisances (columns) of {model}{panels}")
    else:
        save_image(sample_sheet(sampler, c, s, labels=labels), path)
        panels = if_decoder(sampler, "; left: generator, right: VAE decoder for the same codes")
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
    callback=parse_dims,
    help="Code dimensions or names, such as 0,3-5,scale.  [default: the active ones, largest KL first]",
)
@click.option(
    "--span", nargs=2, type=float, default=(-3.0, 3.0), show_default=True, help="First and last value of a dimension."
)
@click.option(
    "--steps", type=click.IntRange(2, 100), default=9, show_default=True, help="Number of images per dimension."
)
@click.option(
    "--out",
    type=OutputFile(*PICTURES, *ANIMATIONS),
    help="A picture (.png, .jpg, .webp) or an animation (.gif, .mp4).  [default: MODEL-traversals.png]",
)
@align_options
@crop_options
@threads_option
@device_option
def traverse(
    model: str,
    seed: int,
    image: str | None,
    dims: list[int | str] | None,
    span: tuple[float, float],
    steps: int,
    out: str | None,
    align: bool | int,
    crop: bool | int,
    device: str,
) -> None:
    """Show what each code dimension changes.

    Each row sweeps one dimension over --span, with everything else fixed. Writing .mp4 needs the extra `video`.

    \b
    idgan traverse dsprites
    idgan traverse dsprites --seed 3 --out dsprites.gif
    idgan traverse dsprites --image sprite.png --dims 0,4
    idgan traverse celeba-64-w16 --image photo.jpg --align
    """
    from idgan.figures import traversal_frames, traversal_sheet
    from idgan.images import save_animation, save_image

    if (align or crop) and image is None:
        raise click.UsageError(f"--{'align' if align else 'crop'} needs --image")
    path = Path(out or default_out(model, "traversals.png"))
    sampler = load_model(model, device)
    shown = sampler.traversal_dims(dims)
    c = sampler.encode(_one_image(sampler, image, align), crop=crop) if image else None
    if path.suffix.lower() in ANIMATIONS:
        save_animation(traversal_frames(sampler, c, dims=shown, span=span, steps=steps, seed=seed), path)
        layout = "one tile per dimension, forward and back"
    else:
        save_image(traversal_sheet(sampler, c, dims=shown, span=span, steps=steps, seed=seed), path)
        layout = "one row per dimension" + if_decoder(sampler, "; generator and VAE decoder")
    names = ", ".join(map(sampler.dim_label, shown))
    click.echo(f"{path}: dimensions {names} from {span[0]:g} to {span[1]:g}; {layout}")


@click.command()
@model_argument
@click.argument("start", metavar="A")
@click.argument("end", metavar="B")
@click.option("--steps", type=click.IntRange(2, 1000), help="Number of images.  [default: 9, in an animation 30]")
@click.option(
    "--invert",
    is_flag=True,
    help="Optimize nuisance and inactive dimensions to fit image files. Takes seconds per image.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the nuisance and the inactive dimensions of image files.",
)
@click.option(
    "--out",
    type=OutputFile(*PICTURES, *ANIMATIONS),
    help="A picture (.png, .jpg, .webp) or an animation (.gif, .mp4).  [default: MODEL-interpolation.png]",
)
@align_both_options
@crop_options
@threads_option
@device_option
def interpolate(
    model: str,
    start: str,
    end: str,
    steps: int | None,
    invert: bool,
    seed: int,
    out: str | None,
    align: bool | tuple[int, int],
    crop: bool | int,
    device: str,
) -> None:
    """Interpolate from A to B.

    A and B are seeds, as in `idgan sample`, or image files. Codes and nuisances are interpolated linearly. The encoder
    gives the code of an image file. Its nuisance comes from the model's second encoder if it has one. Otherwise it is
    random (--seed) or optimized (--invert). Writing .mp4 needs the extra `video`.

    \b
    idgan interpolate dsprites 3 7
    idgan interpolate dsprites 3 7 --out dsprites.gif
    idgan interpolate celeba-64-w16 a.jpg b.jpg --align --invert --out faces.mp4
    idgan interpolate celeba-64-w16 alone.jpg group.jpg --align --face 1,3
    """
    from idgan.figures import interpolation_frames, interpolation_sheet
    from idgan.images import save_animation, save_image

    path = Path(out or default_out(model, "interpolation.png"))
    for text in (start, end):
        if not _is_seed(text) and not Path(text).is_file():
            raise click.UsageError(f"{text!r} is neither a seed nor an image file")
    if _is_seed(start) and _is_seed(end):
        for option, value in {"--align": align, "--invert": invert, "--crop": crop}.items():
            if value:
                raise click.UsageError(f"{option} needs an image file as A or B")
    animated = path.suffix.lower() in ANIMATIONS
    steps = steps or (30 if animated else 9)
    if not animated and steps > MAX_COLUMNS:
        raise click.UsageError(f"a picture shows at most {MAX_COLUMNS} steps, got {steps}; write .gif or .mp4")
    sampler = load_model(model, device)

    def codes(text: str, align: bool | int) -> "tuple[Tensor, Tensor]":
        if _is_seed(text):
            return sampler.codes(1, int(text))
        image = _one_image(sampler, text, align)
        if invert:
            return sampler.invert(image, seed=seed, crop=crop)
        return sampler.read(image, seed=seed, crop=crop)

    face_of_start, face_of_end = align if isinstance(align, tuple) else (align, align)
    first, last = codes(start, face_of_start), codes(end, face_of_end)
    names = [f"seed {text}" if _is_seed(text) else _short(Path(text).name) for text in (start, end)]
    if animated:
        save_animation(interpolation_frames(sampler, first, last, steps, names), path)
        layout = f"{steps} images, forward and back"
    else:
        save_image(interpolation_sheet(sampler, first, last, steps, names), path)
        layout = f"{steps} images" + if_decoder(sampler, "; generator and VAE decoder")
    click.echo(f"{path}: from {names[0]} to {names[1]}, {layout}")


def _one_image(sampler: "Sampler", file: str, align: bool | int) -> "str | Tensor":
    """The image in `file` as `Sampler.encode` takes it. With `align`, the face that is cut out of it.

    Raises:
        InvalidInputError: the photo shows several faces and `align` does not choose one, or shows none.
    """
    if align is False:
        return file
    faces = sampler.aligned(file, None if align is True else align)
    if len(faces) > 1:
        raise InvalidInputError(f"{file}: {len(faces)} faces were found. Choose one with --face, counted from the left")
    return faces


def _short(name: str, length: int = 16) -> str:
    """`name` as a heading of one tile."""
    return name if len(name) <= length else f"{name[: length - 3]}..."


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdigit()
