"""`idgan sample`, `traverse`, `encode`, `edit`: pictures out of codes, codes out of pictures."""

from pathlib import Path

import click

from idgan.cli.options import default_out, device_option, model_argument, parse_changes, parse_numbers, say_json

prior_option = click.option(
    "--prior", type=click.Choice(["posterior", "normal"]), default="posterior", show_default=True, help="Where codes are drawn from."
)
images_argument = click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
crop_option = click.option("--crop", is_flag=True, help="Cut images to their centre square instead of refusing those that are not square.")


def _load(model, device):
    import idgan

    return idgan.load(model, device=device)


@click.command()
@model_argument
@click.option("--seeds", default="0-35", show_default=True, callback=parse_numbers, help="One image a seed, such as 0-15,42.")
@prior_option
@click.option("--out", type=click.Path(dir_okay=False), help="The picture to write (PNG).  [default: MODEL-samples.png]")
@click.option("--separate", type=click.Path(file_okay=False), help="Write one PNG a seed into this directory instead of one sheet.")
@device_option
def sample(model, seeds, prior, out, separate, device):
    """Draw samples. A sheet of the generator's images, and beside it the VAE decoder's rendering of the same codes.

    \b
    idgan sample dsprites
    idgan sample dsprites --seeds 0-99 --out samples.png
    idgan sample dsprites --seeds 7,42 --separate images/
    """
    import torch
    from tqdm import tqdm

    from idgan.figures import sample_sheet
    from idgan.images import save_png

    if separate and out:
        raise click.UsageError("--out is for one sheet, --separate for one file a seed; give one of them")
    sampler = _load(model, device)
    if separate:
        for seed in tqdm(seeds, unit="image", disable=None):
            save_png(sampler.sample(seed=seed, prior=prior)[0], Path(separate) / f"seed{seed:06d}.png")
        click.echo(f"{separate}: samples of {model} ({len(seeds)}), {sampler.resolution}x{sampler.resolution}, one a seed")
        return
    c, s = (torch.cat(parts) for parts in zip(*(sampler.codes(1, seed, prior) for seed in seeds)))
    path = save_png(sample_sheet(sampler, c, s), out or default_out(model, "samples.png"))
    click.echo(f"{path}: samples of {model} ({len(seeds)}); left the generator's images, right the VAE decoder's of the same codes")


@click.command()
@model_argument
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the code to start from.")
@click.option("--image", type=click.Path(exists=True, dir_okay=False), help="Start from the code of this image instead.")
@click.option("--dims", callback=parse_numbers, help="Code dimensions, such as 0,3-5.  [default: the live ones, the most telling first]")
@click.option("--span", nargs=2, type=float, default=(-3.0, 3.0), show_default=True, help="First and last value of the dimension.")
@click.option("--steps", type=click.IntRange(2, 100), default=9, show_default=True, help="Images a dimension.")
@click.option("--out", type=click.Path(dir_okay=False), help="PNG for a sheet, GIF for an animation.  [default: MODEL-traversals.png]")
@crop_option
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
        shown = "a row a dimension; left the generator, right the VAE decoder"
    click.echo(f"{path}: dimensions {', '.join(map(str, dims))} from {span[0]:g} to {span[1]:g}; {shown}")


@click.command()
@model_argument
@images_argument
@crop_option
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


@click.command()
@model_argument
@images_argument
@click.option("--set", "changes", multiple=True, required=True, callback=parse_changes, help="DIMENSION=AMOUNT, such as 3=+1.5; repeat it.")
@click.option("--absolute", is_flag=True, help="AMOUNT is the new value, not what is added.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of what the code does not carry.")
@click.option("--out", type=click.Path(dir_okay=False), help="The picture to write (PNG).  [default: MODEL-edit.png]")
@crop_option
@device_option
def edit(model, images, changes, absolute, seed, out, crop, device):
    """Change images through their codes. The originals, their reconstructions and the edits, side by side.

    \b
    idgan edit dsprites sprite.png --set 0=+1.5
    """
    from idgan.figures import edit_sheet
    from idgan.images import save_png

    sampler = _load(model, device)
    sheet = edit_sheet(sampler, list(images), changes, absolute=absolute, seed=seed, crop=crop)
    path = save_png(sheet, out or default_out(model, "edit.png"))
    said = ", ".join(f"{dim} = {value:g}" if absolute else f"{dim} {value:+g}" for dim, value in changes.items())
    click.echo(f"{path}: originals, reconstructions, and edits with dimension {said}")
