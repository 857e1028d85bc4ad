"""Edit a photo: invert it, change one code dimension, and draw it again. Runs offline on a CPU in a minute.

python examples/edit_photo.py examples/images/faces/seed000022.png --dim 17
"""

import argparse

import idgan
from idgan.figures import edit_sheet
from idgan.images import as_batch, psnr, save_png

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument(
    "photo", help="an upright face in a square, the eyes at 37%% and 63%% of its width and 52%% of its height"
)
parser.add_argument(
    "--model",
    default="celeba-64-w16",
    help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
)
parser.add_argument("--dim", type=int, help="code dimension to change; by default the one with the largest KL")
parser.add_argument("--by", type=float, default=2.0, help="amount to add; a code is about N(0, 1) over the data")
parser.add_argument("--crop", action="store_true", help="cut the photo to its center square")
parser.add_argument("--steps", type=int, default=200, help="steps of the inversion")
parser.add_argument("--out", default="edited.png")
arguments = parser.parse_args()

g = idgan.load(arguments.model)
dim = g.active_dims[0] if arguments.dim is None else arguments.dim
x = as_batch(arguments.photo, channels=g.image_channels, resolution=g.resolution, crop=arguments.crop)

# The encoder reads c, what faces have in common: pose, hair, light. The nuisance s, which makes this face this face,
# has no encoder. Optimization finds s and keeps it likely under its prior, so that edits of c still work.
c, s = g.invert(x, steps=arguments.steps)
drawn, inverted = psnr(g.reconstruct(x), x).item(), psnr(g.sample(c, s), x).item()
print(f"PSNR with a random s: {drawn:.1f} dB, with the s found: {inverted:.1f} dB")

# The edit itself is g.sample(g.changed(c, {dim: 2.0}), s). The sheet shows photo, reconstruction and edit.
save_png(edit_sheet(g, x, {dim: arguments.by}, codes=(c, s)), arguments.out)
print(f"wrote {arguments.out}: dimension {dim}, {arguments.by:+g}")
