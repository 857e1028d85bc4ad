"""Edit a real photo: find the codes at which the generator draws it again, change one dimension, look. Offline, on a CPU, in a minute."""

import argparse

import idgan
from idgan.figures import edit_sheet
from idgan.images import as_batch, psnr, save_png

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "photo", help="an upright face in a square, the eyes at 37%% and 63%% of its width and 52%% of its height"
)
parser.add_argument(
    "--model",
    default="celeba-64-w16",
    help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
)
parser.add_argument("--dim", type=int, help="the code dimension to change; by default the most telling one")
parser.add_argument(
    "--by", type=float, default=2.0, help="how much to add to it: a code is about N(0, 1) over the data"
)
parser.add_argument("--crop", action="store_true", help="cut a photo that is not square to the square in its middle")
parser.add_argument("--steps", type=int, default=200, help="of the search for s: more are closer to the photo")
parser.add_argument("--out", default="edited.png")
arguments = parser.parse_args()

g = idgan.load(arguments.model)
dim = g.active_dims[0] if arguments.dim is None else arguments.dim
x = as_batch(arguments.photo, channels=g.image_channels, resolution=g.resolution, crop=arguments.crop)

# The encoder reads c, what is common to faces: pose, hair, light. The nuisance s, what makes the photo this photo, has no encoder; it is found by
# optimization, and kept where the generator has learned to draw, so that a change of c still does to it what it does to any face.
c, s = g.invert(x, steps=arguments.steps)
print(
    f"PSNR with a random s: {psnr(g.reconstruct(x), x).item():.1f} dB, with the s found: {psnr(g.sample(c, s), x).item():.1f} dB"
)

# One more line makes the edit: g.sample(g.changed(c, {dim: 2.0}), s). The sheet shows photo, reconstruction and edit.
save_png(edit_sheet(g, x, {dim: arguments.by}, codes=(c, s)), arguments.out)
print(f"wrote {arguments.out}: dimension {dim}, {arguments.by:+g}")
