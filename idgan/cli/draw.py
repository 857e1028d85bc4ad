"""`idgan sample`, `traverse`, `encode`, `reconstruct`, `edit`: pictures out of codes, codes out of pictures."""

from functools import wraps
from pathlib import Path

import click

from idgan.cli.options import default_out, device_option, model_argument, parse_changes, parse_numbers, say_json

MAX_TILES = 1000
"""What a sheet shows at most; beyond it nobody looks, and memory runs out."""

prior_option = click.option(
    "--prior",
    type=click.Choice(["aggregated", "normal"]),
    default="aggregated",
    show_default=True,
    help="Where codes are drawn from.",
)
images_argument = click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
invert_option = click.option(
    "--invert", is_flag=True, help="Find by optimization what the code does not carry. Takes seconds an image."
)
steps_option = click.option(
    "--steps", type=click.IntRange(0), default=200, show_default=True, help="Of --invert: more are closer."
)


def crop_options(command):
    """`--crop` and `--crop-side`, in one parameter `crop`, as `as_batch` takes it."""

    @click.option(
        "--crop", is_flag=True, help="Cut images to their center square instead of refusing those that are not square."
    )
    @click.option(
        "--crop-side",
        type=click.IntRange(min=1),
        metavar="PX",
        help="Cut images to their center square of PX pixels a side.",
    )
    @wraps(command)
    def cropped(crop, crop_side, **options):
        return command(crop=crop_side or crop, **options)

    return cropped


def _load(model, device):
    import idgan

    return idgan.load(model, device=device)


def _if_decoded(sampler, text):
    """`text`, which is about the decoder's panel, where there is one."""
    return "" if "decoder" in sampler.untrained else text


@click.command()
@model_argument
@click.option(
    "--seeds", callback=parse_numbers, help="One image a seed, such as 0-15,42.  [default: 0-35; with --grid 0-7]"
)
@prior_option
@click.option(
    "--grid",
    is_flag=True,
    help="Every code with every nuisance: a row shares the code of a seed, a column all else of a seed.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="The picture to write (PNG).  [default: MODEL-samples.png, MODEL-grid.png]",
)
@click.option(
    "--separate",
    type=click.Path(file_okay=False),
    help="Write one PNG a seed into this directory instead of one sheet.",
)
@device_option
def sample(model, seeds, prior, grid, out, separate, device):
    """Draw samples. A sheet of the generator's images, and beside it the VAE decoder's rendering of the same codes.

    Images above 256x256 are reduced on sheets; --separate writes them as they are, any number, each as soon as it is made.

    \b
    idgan sample dsprites
    idgan sample dsprites --seeds 0-99 --out samples.png
    idgan sample dsprites --grid                          what the code fixes, and what it leaves open
    idgan sample dsprites --seeds 7,42 --separate images/
    """
    import torch
    from tqdm import tqdm

    from idgan.figures import code_grid_sheet, sample_sheet
    from idgan.images import save_png

    seeds = seeds or list(range(8 if grid else 36))
    tiles = len(seeds) ** 2 if grid else len(seeds)
    if separate and (out or grid):
        raise click.UsageError("--out and --grid are for one sheet, --separate for one file a seed; give one of them")
    if tiles > MAX_TILES and not separate:
        raise click.UsageError(
            f"a sheet of {tiles:,} images is too large, {MAX_TILES:,} fit; --separate writes any number"
        )
    sampler = _load(model, device)
    if separate:
        for seed in tqdm(seeds, unit="image", disable=None):
            save_png(sampler.sample(seed=seed, prior=prior)[0], Path(separate) / f"seed{seed:06d}.png")
        click.echo(
            f"{separate}: samples of {model} ({len(seeds)}), {sampler.resolution}x{sampler.resolution}, one a seed"
        )
        return
    c, s = (torch.cat(parts) for parts in zip(*(sampler.codes(1, seed, prior) for seed in seeds)))
    if grid:
        path = save_png(code_grid_sheet(sampler, c, s), out or default_out(model, "grid.png"))
        said = _if_decoded(sampler, "; left the VAE decoder's images")
        click.echo(
            f"{path}: {len(seeds)} codes of {model}, a row each, with {len(seeds)} nuisances, a column each{said}"
        )
        return
    path = save_png(sample_sheet(sampler, c, s), out or default_out(model, "samples.png"))
    said = _if_decoded(sampler, "; left the generator's images, right the VAE decoder's of the same codes")
    click.echo(f"{path}: samples of {model} ({len(seeds)}){said}")


@click.command()
@model_argument
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the code to start from.")
@click.option(
    "--image", type=click.Path(exists=True, dir_okay=False), help="Start from the code of this image instead."
)
@click.option(
    "--dims",
    callback=parse_numbers,
    help="Code dimensions, such as 0,3-5.  [default: the live ones, the most telling first]",
)
@click.option(
    "--span", nargs=2, type=float, default=(-3.0, 3.0), show_default=True, help="First and last value of the dimension."
)
@click.option("--steps", type=click.IntRange(2, 100), default=9, show_default=True, help="Images a dimension.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    help="PNG for a sheet, GIF for an animation.  [default: MODEL-traversals.png]",
)
@crop_options
@device_option
def traverse(model, seed, image, dims, span, steps, out, crop, device):
    """Show what each code dimension does. A row a dimension, swept over SPAN, everything else fixed.

    \b
    idgan traverse dsprites
    idgan traverse dsprites --seed 3 --out dsprites.gif
    idgan traverse dsprites --image sprite.png --dims 0,4
    """
    from idgan.figures import traversal_frames, traversal_sheet
    from idgan.images import save_gif, save_png

    sampler = _load(model, device)
    dims = sampler.traversal_dims(dims)
    c = sampler.encode(image, crop=crop) if image else None
    options = {"dims": dims, "span": span, "steps": steps, "seed": seed}
    path = Path(out or default_out(model, "traversals.png"))
    if path.suffix.lower() == ".gif":
        save_gif(traversal_frames(sampler, c, **options), path)
        shown = "a tile a dimension, there and back"
    else:
        save_png(traversal_sheet(sampler, c, **options), path)
        shown = "a row a dimension" + _if_decoded(sampler, "; left the generator, right the VAE decoder")
    click.echo(f"{path}: dimensions {', '.join(map(str, dims))} from {span[0]:g} to {span[1]:g}; {shown}")


@click.command()
@model_argument
@images_argument
@crop_options
@click.option("--out", type=click.Path(dir_okay=False), help="Write the JSON here instead of printing it.")
@device_option
def encode(model, images, crop, out, device):
    """Read images into codes. JSON with the posterior's mean and standard deviation of every dimension.

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
    if not out:
        return say_json(result)
    write_atomically(out, json.dumps(result, indent=2) + "\n")
    click.echo(f"{out}: codes of {sampler.c_dim} dimensions ({len(images)})")


def _inverted(sampler, images, invert, steps, seed, crop):
    """The codes that `--invert` asks for, or None."""
    return sampler.invert(images, steps=steps, seed=seed, crop=crop) if invert else None


@click.command()
@model_argument
@images_argument
@invert_option
@steps_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what the code does not carry."
)
@click.option(
    "--out", type=click.Path(dir_okay=False), help="The picture to write (PNG).  [default: MODEL-reconstruction.png]"
)
@crop_options
@device_option
def reconstruct(model, images, invert, steps, seed, out, crop, device):
    """Read images into codes and draw them again. The originals, the VAE decoder's rendering of their codes, the generator's.

    The decoder shows what the code carries; the generator adds the rest by --seed, or with --invert as the image has it. Prints how close
    each comes (mean PSNR, in dB; more is closer). How a photo must be cut: idgan edit --help.

    \b
    idgan reconstruct dsprites sprite.png
    idgan reconstruct celeba-64-w16 photos/*.jpg --crop --invert
    """
    from idgan.figures import reconstruction_sheet
    from idgan.images import as_batch, encoder_view, psnr, save_png

    sampler, images = _load(model, device), list(images)
    codes = _inverted(sampler, images, invert, steps, seed, crop)
    sheet = reconstruction_sheet(sampler, images, seed=seed, crop=crop, codes=codes)
    path = save_png(sheet, out or default_out(model, "reconstruction.png"))
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop).to(sampler.device)
    drawn = {} if "decoder" in sampler.untrained else {"decoder": sampler.decode(sampler.posterior(x).mean)}
    drawn["generator"] = sampler.reconstruct(x, seed=seed)
    if codes is not None:
        drawn["inverted"] = sampler.sample(*codes)
    said = ", ".join(f"{name} {psnr(y, encoder_view(x, y.shape[-1])).mean():.1f}" for name, y in drawn.items())
    click.echo(f"{path}: originals and reconstructions ({len(images)}); PSNR {said} dB")


@click.command()
@model_argument
@images_argument
@click.option(
    "--set",
    "changes",
    multiple=True,
    required=True,
    callback=parse_changes,
    help="DIMENSION=AMOUNT, such as 3=+1.5; repeat it.",
)
@click.option("--absolute", is_flag=True, help="AMOUNT is the new value, not what is added.")
@invert_option
@steps_option
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what the code does not carry."
)
@click.option("--out", type=click.Path(dir_okay=False), help="The picture to write (PNG).  [default: MODEL-edit.png]")
@crop_options
@device_option
def edit(model, images, changes, absolute, invert, steps, seed, out, crop, device):
    """Change images through their codes. The originals, their reconstructions and the edits, side by side.

    The code carries some of an image; the rest is drawn by --seed, or found with --invert, so that the reconstruction is of the same face
    and not only of one like it. `idgan traverse MODEL` shows what each dimension changes.

    A photo must be cut like the pictures the model learned from. Models of CelebA expect an upright square with the eyes at 37% and 63% of
    its width and 52% of its height, and the mouth at 79%: about four times as wide as the eyes are apart, the face a little below the middle.
    --crop cuts the largest square from the middle, --crop-side a smaller one; for CelebA's own files of 178 x 218 it is 160.

    \b
    idgan edit dsprites sprite.png --set 0=+1.5
    idgan edit celeba-64-w16 photo.jpg --crop --invert --set 15=+2 --out edited.png
    idgan edit celeba-64-w16 img_align_celeba/000001.jpg --crop-side 160 --invert --set 15=+2
    """
    from idgan.figures import edit_sheet
    from idgan.images import save_png

    sampler, images = _load(model, device), list(images)
    sampler.changed(
        [0.0] * sampler.c_dim, changes, absolute=absolute
    )  # refuses a dimension that is not there before the work
    codes = _inverted(sampler, images, invert, steps, seed, crop)
    sheet = edit_sheet(sampler, images, changes, absolute=absolute, seed=seed, crop=crop, codes=codes)
    path = save_png(sheet, out or default_out(model, "edit.png"))
    said = ", ".join(f"{dim} = {value:g}" if absolute else f"{dim} {value:+g}" for dim, value in changes.items())
    click.echo(f"{path}: originals, reconstructions, and edits with dimension {said}")
