"""Figure 8: what c fixes and what s leaves open. Every code with every nuisance: a row shares c, a column shares s."""

import argparse

import idgan
from idgan.figures import code_grid_sheet
from idgan.images import save_png

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", default="celeba-64-w16", help="a name from `idgan list`, a hub repository, a run directory or a .safetensors file")
parser.add_argument("--size", type=int, default=8, help="codes, and nuisances")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="figure8.png")
arguments = parser.parse_args()

g = idgan.load(arguments.model)
save_png(code_grid_sheet(g, *g.codes(arguments.size, seed=arguments.seed)), arguments.out)
print(arguments.out)
