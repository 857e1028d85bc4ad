"""Quick start: draw, encode and edit images. Runs offline on a CPU in seconds."""

import argparse
from pathlib import Path

import idgan
from idgan.figures import edit_sheet, traversal_sheet
from idgan.images import save_png

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument(
    "--model",
    default="dsprites",
    help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file",
)
parser.add_argument("--out", type=Path, default=Path("."), help="directory of the pictures")
arguments = parser.parse_args()

# One call loads the encoder q(c|x), the decoder p(x|c) and the generator G(s, c).
g = idgan.load(arguments.model)
print(g)

# Draw codes from the aggregated posterior, and images from the codes. A seed gives the same codes on every device.
images = g.sample(n=8, seed=0)
print("images", tuple(images.shape), "in [0, 1]")

# Encode the images. Dimensions that the encoder does not use are 0.
c = g.encode(images)
print("codes", tuple(c.shape), "active dimensions, largest KL first:", g.active_dims)

# Change one dimension and keep the rest.
dim = g.active_dims[0]
save_png(edit_sheet(g, images, {dim: +1.0}), arguments.out / "edited.png")
save_png(traversal_sheet(g, c[:1]), arguments.out / "traversals.png")
print(f"wrote {arguments.out}/edited.png (dimension {g.dim_label(dim)}, +1) and {arguments.out}/traversals.png")
