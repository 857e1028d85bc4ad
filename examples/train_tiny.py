"""Both stages of ID-GAN in about a minute on a CPU: train, load the result, and look at it."""

import argparse
from dataclasses import replace

import torch

import idgan
from idgan.data import open_dataset
from idgan.images import contact_sheet, save_png, side_by_side
from idgan.objectives import CapacityFactorVAEConfig
from idgan.recipes import recipe_of

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--out", default="runs/tiny", help="run directory; the same command continues the run")
parser.add_argument("--steps", type=int, default=500, help="steps of each stage")
arguments = parser.parse_args()

# Stage 1 learns a code of the images. Stage 2 freezes the encoder and trains a generator that keeps the code readable.
# Stage 1 of the recipe learns slowly and well. This one is fast: 12 nats at once, small batches, high learning rate.
recipe = recipe_of("dsprites")
objective = CapacityFactorVAEConfig(capacity=12.0, capacity_steps=1, weight=4.0)
recipe = replace(recipe, vae_stage=replace(recipe.vae_stage, objective=objective))
settings = {
    "vae_stage.steps": arguments.steps,
    "vae_stage.batch_size": 32,
    "vae_stage.optimizers.vae.lr": 2e-3,
    "vae_stage.select_every": 0,
    "gan_stage.steps": arguments.steps,
    "gan_stage.batch_size": 32,
    "gan_stage.ema_decay": 0.98,
    "bank_size": 512,
}
checkpoint = idgan.train(recipe, arguments.out, settings=settings, measure=False)

# A run directory loads like any model. After a minute, the decoder shows the position and size of a sprite.
# The generator needs some thousands of steps before it draws anything.
g = idgan.load(arguments.out)
data = open_dataset("dsprites")
x = data.images(torch.randint(len(data), (16,), generator=torch.Generator().manual_seed(0)))
panels = [x, g.decode(g.encode(x)), g.reconstruct(x)]
save_png(
    side_by_side([contact_sheet(panel) for panel in panels], ["data x", "decoder p(x|c)", "generator G(s, c)"]),
    f"{arguments.out}/panels.png",
)
print(f"{g}\n{checkpoint}, and {arguments.out}/panels.png")
