"""`idgan encode`, `reconstruct`, `edit`: codes from images, and images from these codes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idgan.cli.options import (
    PICTURES,
    Command,
    InputPath,
    OutputPlace,
    align_options,
    crop_options,
    default_out,
    device_option,
    idle_threads_option,
    load_model,
    model_argument,
    parse_changes,
    say_json,
    threads_option,
)
from idgan.cli.sources import Failures, check_places, results_of, sources_of

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from idgan.sampler import Sampler

MAX_ROWS = 100
"""Largest number of images on one sheet."""

images_argument = click.argument("images", nargs=-1, required=True, type=InputPath(dir_okay=True))


def search_options(command: Command) -> Command:
    """Options of the commands that draw images again."""
    options: list[Callable[[Command], Command]] = [
        model_argument,
        images_argument,
        click.option(
            "--invert",
            is_flag=True,
            help="Optimize nuisance and inactive dimensions to fit each image. Takes seconds per image.",
        ),
        click.option(
            "--tune",
            is_flag=True,
            help="Like --invert, and then fit a copy of the generator to each image. This preserves the identity.",
        ),
        click.option(
            "--steps",
            type=click.IntRange(0),
            default=150,
            show_default=True,
            help="Optimizer steps of --invert and of --tune. More steps fit the image better.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Seed of the nuisance, of inactive dimensions, and of the optimization.",
        ),
        click.option(
            "--out",
            type=OutputPlace(*PICTURES),
            help="Picture to write (.png, .jpg, .webp), or a directory for one picture per image.  "
            "[default: a picture MODEL-COMMAND.png]",
        ),
        align_options,
        crop_options,
        idle_threads_option,
        device_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


# ------------------------------------------------------------------ images


@dataclass(frozen=True)
class Reading:
    """How files become images of a model.

    Attributes:
        sampler: the model.
        crop, align: see `idgan.images.as_batch` and `Sampler.posterior`.
    """

    sampler: "Sampler"
    crop: bool | int
    align: bool | int

    def __post_init__(self) -> None:
        from idgan.images.faces import check_eyes

        if self.align is not False:
            check_eyes(self.sampler.eyes)  # before any image is read

    def read(self, file: Path) -> "tuple[Tensor, list[Image.Image]]":
        """The images in `file`, (N, C, H, W), and with `align` a picture that shows where they were cut."""
        from idgan.images import as_batch
        from idgan.images.faces import check_eyes, cut_faces

        channels, side = self.sampler.image_channels, self.sampler.resolution
        if self.align is False:
            return as_batch(file, channels=channels, resolution=side, crop=self.crop), []
        face = None if self.align is True else self.align
        squares, pictures = cut_faces(file, check_eyes(self.sampler.eyes), side, face)
        return as_batch(squares, channels=channels, resolution=side), pictures


# ------------------------------------------------------------------ encode


@click.command()
@model_argument
@images_argument
@align_options
@crop_options
@click.option("--out", type=OutputPlace(".json"), help="JSON file to write, or a directory.  [default: print the JSON]")
@threads_option
@device_option
def encode(
    model: str, images: tuple[str, ...], align: bool | int, crop: bool | int, out: str | None, device: str
) -> None:
    """Encode images.

    IMAGES are files and folders. The output is JSON with mean and standard deviation of q(c|x) in every dimension. If
    --out is a directory, each image gets its own file. With --align, a picture NAME-cut.png also shows the crop.

    \b
    idgan encode dsprites sprite.png
    idgan encode celeba-64-w16 photos/ --align --out codes/
    """
    import json

    from idgan.files import write_atomically
    from idgan.images import save_png

    sources = sources_of(images)
    separate = out is not None and OutputPlace.is_directory(out)
    results = results_of(sources, Path(out), ".json") if out and separate else []
    cuts = results_of(sources, Path(out), "-cut.png") if out and separate and align is not False else []
    sampler = load_model(model, device)
    reading, failures = Reading(sampler, crop, align), Failures(len(sources))

    def content(codes: list[dict[str, Any]]) -> dict[str, Any]:
        return {"model": model, "active_dims": sampler.active_dims, "codes": codes}

    everything = []
    for number, source, (x, pictures) in failures.of(sources, reading.read):
        posterior = sampler.posterior(x)
        rows = zip(posterior.mean.tolist(), (0.5 * posterior.logvar).exp().tolist())
        codes = [{"image": str(source.file), "mean": mean, "std": std} for mean, std in rows]
        everything += codes
        if separate:
            write_atomically(results[number], json.dumps(content(codes), indent=2) + "\n")
            if pictures:
                save_png(pictures[0], cuts[number])
            click.echo(f"{results[number]}: codes of {sampler.c_dim} dimensions ({len(codes)})")
    if everything and out and not separate:
        write_atomically(out, json.dumps(content(everything), indent=2) + "\n")
        click.echo(f"{out}: codes of {sampler.c_dim} dimensions ({len(everything)})")
    elif everything and not out:
        say_json(content(everything))
    failures.end()


# ------------------------------------------------------------------ reconstruct, edit


@dataclass(frozen=True)
class Drawn:
    """Images with the codes and the generators that draw them again.

    Attributes:
        x: the images, (N, C, H, W).
        pictures: with `--align`, one for each photo that shows what was cut.
        codes: the pair (c, s) of `--invert` and `--tune`, or None.
        tuned: with `--tune`, the sampler of each image. Else empty.
    """

    x: "Tensor"
    pictures: "list[Image.Image]"
    codes: "tuple[Tensor, Tensor] | None"
    tuned: "list[Sampler]"


def draw(
    command: str,
    model: str,
    images: tuple[str, ...],
    device: str,
    check: "Callable[[Sampler], None]",
    sheet: "Callable[[Sampler, Drawn], tuple[Image.Image, str]]",
    *,
    invert: bool,
    tune: bool,
    steps: int,
    seed: int,
    out: str | None,
    align: bool | int,
    crop: bool | int,
) -> None:
    """Write one picture of all images, or one for each in a directory.

    Args:
        command: ending of the files' names.
        check: function of the model that checks the other options before the work.
        sheet: function of the model and the images that returns a picture and a text about it.
        model, images, device, invert, tune, steps, seed, out, align, crop: the options.
    """
    import torch

    from idgan.images import save_image

    sources = sources_of(images)
    separate = out is not None and OutputPlace.is_directory(out)
    if separate:
        results = results_of(sources, Path(str(out)), f"-{command}.png")
    else:
        results = [Path(out) if out else default_out(model, f"{command}.png")]
        check_places(sources, results)
        if len(sources) > MAX_ROWS:
            raise click.UsageError(
                f"{len(sources):,} images exceed the limit of {MAX_ROWS} on one sheet; use --out DIRECTORY"
            )
    sampler = load_model(model, device)
    check(sampler)
    reading, failures = Reading(sampler, crop, align), Failures(len(sources))

    def write(x: "Tensor", pictures: "list[Image.Image]", result: Path) -> None:
        codes = sampler.invert(x, steps=steps, seed=seed) if invert or tune else None
        tuned = []
        if tune and codes is not None:
            rows = zip(*(part.split(1) for part in (x, *codes)))
            tuned = [sampler.tuned(*row, steps=steps, seed=seed) for row in rows]
        picture, text = sheet(sampler, Drawn(x, pictures, codes, tuned))
        save_image(picture, result)
        click.echo(f"{result}: {text}")

    batches, pictures = [], []
    for number, _, (x, cuts) in failures.of(sources, reading.read):
        if separate:
            write(x, cuts, results[number])
        else:
            batches.append(x)
            pictures += cuts
    if batches:
        write(torch.cat(batches), pictures, results[0])
    failures.end()


@click.command()
@search_options
def reconstruct(model: str, images: tuple[str, ...], device: str, **options: Any) -> None:
    """Encode and reconstruct images.

    IMAGES are files and folders. The sheet shows the originals, and the reconstructions of the VAE decoder and of the
    generator. The decoder shows what the code represents. The generator adds the rest. It comes from the model's
    second encoder if it has one. Otherwise it is random (--seed) or optimized (--invert). The command prints the
    mean PSNR in dB. Higher is better. For photos, see idgan edit --help.

    \b
    idgan reconstruct dsprites sprite.png
    idgan reconstruct celeba-64-w16 photos/ --align --tune --out pictures/
    """
    import torch

    from idgan.figures import reconstruction_sheet
    from idgan.images import encoder_view, psnr

    def sheet(sampler: "Sampler", drawn: Drawn) -> "tuple[Image.Image, str]":
        x, seed = drawn.x.to(sampler.device), options["seed"]
        again = {} if "decoder" in sampler.untrained else {"decoder": sampler.decode(sampler.posterior(x).mean)}
        again["generator"] = sampler.reconstruct(x, seed=seed)
        if drawn.codes is not None:
            again["inverted"] = sampler.sample(*drawn.codes)
        if drawn.codes is not None and drawn.tuned:
            rows = zip(drawn.tuned, *(part.split(1) for part in drawn.codes))
            again["tuned"] = torch.cat([next(own.render(c, s)) for own, c, s in rows])
        scores = ", ".join(f"{name} {psnr(y, encoder_view(x, y.shape[-1])).mean():.1f}" for name, y in again.items())
        picture = reconstruction_sheet(
            sampler, x, seed=seed, codes=drawn.codes, tuned=drawn.tuned, photos=drawn.pictures
        )
        return picture, f"originals and reconstructions ({len(x)}); PSNR {scores} dB"

    draw("reconstruction", model, images, device, lambda sampler: None, sheet, **options)


@click.command()
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    callback=parse_changes,
    help="DIMENSION=AMOUNT, such as scale=+1.5 or 3=+1.5. `idgan dims MODEL` lists the names. Can be repeated.",
)
@click.option("--absolute", is_flag=True, help="AMOUNT is the new value. By default it is added.")
@search_options
def edit(
    model: str,
    images: tuple[str, ...],
    changes: dict[int | str, float],
    absolute: bool,
    device: str,
    **options: Any,
) -> None:
    """Edit images by changing dimensions of their codes.

    IMAGES are files and folders. The sheet shows the originals, their reconstructions and the edits. `idgan traverse
    MODEL` shows what each dimension changes.

    The code represents a part of an image. The rest comes from the model's second encoder if it has one. Otherwise it
    is random (--seed) or optimized (--invert). For a photo of a face, --invert finds a similar face. --tune also
    fits a copy of the generator to the image. This preserves the identity of the person.

    A photo must be cropped like the training images. --align does this for models of faces: it finds each face, turns
    it upright, and crops it to a square. --face chooses one of several faces. The sheet shows the crop.
    For other images, --crop takes the largest center square and --crop-side a smaller one. For CelebA's own files of
    178x218 pixels, use --crop-side 160.

    \b
    idgan edit dsprites sprite.png --set 0=+1.5
    idgan edit celeba-64-w16 photo.jpg --align --tune --set 15=+2
    idgan edit celeba-64-w16 photos/ --align --tune --set 15=+2 --out pictures/
    """
    from idgan.figures import edit_sheet

    edits = ", ".join(f"{dim} = {value:g}" if absolute else f"{dim} {value:+g}" for dim, value in changes.items())

    def sheet(sampler: "Sampler", drawn: Drawn) -> "tuple[Image.Image, str]":
        picture = edit_sheet(
            sampler,
            drawn.x,
            changes,
            absolute=absolute,
            seed=options["seed"],
            codes=drawn.codes,
            tuned=drawn.tuned,
            photos=drawn.pictures,
        )
        return picture, f"originals, reconstructions, and edits of dimension {edits}"

    def check(sampler: "Sampler") -> None:
        sampler.changed([0.0] * sampler.c_dim, changes, absolute=absolute)

    draw("edit", model, images, device, check, sheet, **options)
