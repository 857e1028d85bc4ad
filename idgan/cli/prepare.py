"""`idgan prepare`: the files that data sets need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from idgan.cli.options import OutputDirectory, SuggestingGroup

if TYPE_CHECKING:
    from idgan.data import ImageSet
    from idgan.registry import Registry


class ImageSetCommands(SuggestingGroup):
    """The command `idgan prepare NAME` for each registered image set, and those that are added."""

    def list_commands(self, context: click.Context) -> list[str]:
        return [*_image_sets(), *super().list_commands(context)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        sets = _image_sets()
        return _image_command(sets[name]) if name in sets else super().get_command(context, name)


def _image_sets() -> Registry[ImageSet]:
    """The image sets, those of plug-ins included. They are imported here, because this takes a second."""
    from idgan.data import IMAGE_SETS
    from idgan.registry import load_plugins

    load_plugins()
    return IMAGE_SETS


@click.group(cls=ImageSetCommands)
def prepare() -> None:
    """Prepare the images of a data set. They are cropped and resized into a new directory. The source stays as it is.

    \b
    idgan prepare celeba img_align_celeba.zip
    idgan prepare folder my-photos/ --resolution 128
    idgan prepare scream

    Run the same command again to continue an interrupted preparation.
    """


@prepare.command()
@click.option(
    "--image",
    type=click.Path(dir_okay=False),
    help="Your own copy of the painting.  [default: a download]",
)
def scream(image: str | None) -> None:
    """The Scream, for Scream-dSprites.

    Without --image, a public-domain scan is downloaded from Wikimedia Commons.

    \b
    idgan prepare scream --image The_Scream.jpg
    """
    from idgan.data import prepare_scream

    path = click.format_filename(prepare_scream(image))
    click.echo(f"{path}: ready for `idgan train scream-dsprites`")


def _image_command(image_set: ImageSet) -> click.Command:
    """The command `idgan prepare NAME` of an image set."""
    from idgan.data import Whole

    kind = image_set.name
    text = f"""{image_set.title}

    SOURCE is a folder, a zip or tar archive, a folder of archives, or hf:org/name for a Hugging Face data set.

    \b
    idgan prepare {kind} {image_set.example}
    """
    name = f"{kind}-RESOLUTION in IDGAN_DATA, else in ~/.cache/idgan/data"

    @click.command(kind, help=text, short_help=f"{image_set.title.partition(':')[0]}.")
    @click.argument("source", metavar="SOURCE")
    @click.option("--out", type=OutputDirectory(), help=f"The directory to write.  [default: {name}]")
    @click.option(
        "--resolution",
        type=click.IntRange(8, 4096),
        help=f"Height and width of the images, in pixels.  [default: {image_set.resolution}]",
    )
    @click.option("--limit", type=click.IntRange(min=1), help="Prepare only the first LIMIT images after --skip.")
    @click.option(
        "--skip",
        type=click.IntRange(min=0),
        default=0,
        help="Leave out the first SKIP images. The images after the --limit of a training set make a held-out set.",
    )
    @click.option("--workers", type=click.IntRange(min=1), help="Number of threads.  [default: one for each CPU]")
    @click.option(
        "--max-pixels",
        type=click.IntRange(min=1),
        help="Size of the largest image to read, in pixels.  [default: Pillow's limit]",
    )
    def command(source: str, out: str | None, resolution: int | None, **options: Any) -> None:
        from idgan.data import PreparedImages, prepare_images

        made = prepare_images(kind, source, out, resolution, progress=True, **options)
        for note in made.notes:
            click.echo(f"note: {note}", err=True)
        path, earlier = click.format_filename(made.path), "" if made.new else ", prepared before"
        found = PreparedImages(made.path).attributes
        attributes = f", {len(found.names)} attributes" if found else ""
        click.echo(f"{path}: {made.images:,} images of {made.resolution}x{made.resolution}{attributes}{earlier}")

    if isinstance(image_set.crop, Whole):
        side = click.option(
            "--source-side",
            type=click.IntRange(8, 4096),
            metavar="PX",
            help=f"Side of the images in SOURCE, if not {image_set.crop.side}. It becomes the default resolution.",
        )
        return side(command)
    return command
