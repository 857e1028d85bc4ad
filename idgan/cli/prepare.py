"""`idgan prepare`: the files that data sets need."""

import click


@click.group()
def prepare():
    """Make the files that a data set needs. Published archives or folders become ready images; they are only read.

    \b
    idgan prepare celeba img_align_celeba.zip
    idgan prepare folder my-photos/ --resolution 128
    idgan prepare scream

    Run the same command again to continue an interrupted preparation.
    """


@prepare.command()
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False),
    help="Your own copy of the painting; without it, it is downloaded.",
)
def scream(image):
    """The Scream, for Scream-dSprites: from a file, or the public-domain scan from Wikimedia Commons.

    \b
    idgan prepare scream --image The_Scream.jpg
    """
    from idgan.data import prepare_scream

    click.echo(f"{prepare_scream(image)}: ready for `idgan train scream-dsprites`")


def _image_command(kind, resolution, text):
    """The command `idgan prepare KIND`, described by `text`."""

    place = "beside the other sets; --data takes it from there" if kind == "folder" else "where `idgan train` finds it"

    @prepare.command(kind, help=text)
    @click.argument("source", metavar="SOURCE")
    @click.option("--out", type=click.Path(file_okay=False), help=f"The directory to make.  [default: {place}]")
    @click.option(
        "--resolution",
        type=click.IntRange(8, 4096),
        default=resolution,
        show_default=True,
        help="Of the images, in pixels.",
    )
    @click.option("--limit", type=click.IntRange(min=1), help="Only so many images, the first ones.")
    @click.option("--workers", type=click.IntRange(min=1), help="Threads.  [default: one a CPU]")
    def command(source, out, resolution, limit, workers):
        from idgan.data import prepare_images

        made = prepare_images(kind, source, out, resolution, limit=limit, workers=workers, progress=True)
        for note in made.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"{made.path}: {made.images:,} images of {resolution}x{resolution}{'' if made.new else ', prepared before'}"
        )


SOURCES = "SOURCE is a folder, a zip or tar archive, a folder of archives, or hf:org/name for a Hugging Face data set."

_image_command(
    "celeba",
    64,
    f"""CelebA: the center 160 of the aligned 178x218 images (or its equivalent in halved ones), resized by Lanczos.

    {SOURCES}

    \b
    idgan prepare celeba img_align_celeba.zip
    idgan prepare celeba img_align_celeba.zip --resolution 128
    """,
)
_image_command(
    "celebahq",
    1024,
    f"""CelebA-HQ: as published at 1024, checked and copied; resized by Lanczos to less.

    {SOURCES}

    \b
    idgan prepare celebahq CelebAMask-HQ.zip
    """,
)
_image_command(
    "chairs",
    64,
    f"""3D Chairs: the center 450 of the 600x600 renderings, resized by Lanczos.

    {SOURCES}

    \b
    idgan prepare chairs rendered_chairs.tar
    """,
)
_image_command(
    "cars",
    64,
    f"""Stanford Cars: the bounding boxes of at least 64 px, resized by Lanczos.

    {SOURCES} The annotation files (cars_train_annos.mat, ...) are looked for in it and beside it.

    \b
    idgan prepare cars stanford_cars/
    """,
)
_image_command(
    "folder",
    64,
    f"""Any images: their center square, resized by Lanczos.

    {SOURCES}

    \b
    idgan prepare folder my-photos/ --resolution 128 --out data/my-photos
    """,
)
