"""Recipes of the synthetic sets: dSprites and its variants (|c| = 10, no nuisance code; tables A.2 and A.3)."""

from dataclasses import replace

from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig
from idgan.objectives import BetaVAEConfig, CapacityFactorVAEConfig, IDGANConfig, PairwiseTCVAEConfig
from idgan.recipes.recipe import Adam, Recipe, Stage

__all__ = ["color_dsprites", "dsprites", "noisy_dsprites", "scream_dsprites"]


def dsprites():
    """dSprites: FactorVAE under capacity annealing, then ID-GAN. The paper lets any encoder take stage 1; docs/results.md says why this one."""
    return Recipe(
        name="dsprites",
        data="dsprites",
        vae_stage=Stage(
            objective=CapacityFactorVAEConfig(tc_weight=20.0, capacity=7.0, capacity_steps=5_250, weight=100.0),
            optimizers={"vae": Adam(5e-4), "tc_discriminator": Adam(1e-4, 0.5, 0.9)},
            steps=9_000,
            precision="bf16",
            select_every=1000,
        ),
        gan_stage=Stage(
            objective=IDGANConfig(id_weight=1e-3, r1_weight=10.0, r1_interval=16),
            optimizers={"discriminator": Adam(1e-4, 0.0, 0.99), "generator": Adam(1e-3, 0.0, 0.99)},
            steps=12_000,
            precision="bf16",
            ema_decay=0.999,
        ),
    )


def in_color(name, seed, objective, lr=5e-4, init_vae_from="", **vae_stage):
    """The recipe of the variant `name` in color: dSprites' with another stage 1."""
    parent = dsprites()
    return replace(
        parent,
        name=name,
        data=name,
        vae_stage=replace(parent.vae_stage, objective=objective, optimizers={"vae": Adam(lr)}, **vae_stage),
        vae=VAEConfig(image_channels=3),
        generator=ConvGeneratorConfig(image_channels=3),
        discriminator=ConvDiscriminatorConfig(image_channels=3),
        seed=seed,
        init_vae_from=init_vae_from,
    )


def pairwise(capacity, capacity_steps):
    """The objective of stage 1 whose weights served Color- and Noisy-dSprites."""
    return PairwiseTCVAEConfig(
        tc_weight=50.0, capacity=capacity, capacity_steps=capacity_steps, weight=100.0, memory=2048
    )


def textured(recipe, steps):
    """`recipe` with `steps` of the stage 2 for pictures whose ground is not flat: see docs/results.md.

    A generator whose first images are flat stays flat where it should draw noise, so it starts from others.
    """
    gan_stage = replace(
        recipe.gan_stage,
        objective=IDGANConfig(id_weight=1e-2, r1_weight=10.0, r1_interval=16),
        optimizers={"discriminator": Adam(2e-4, 0.0, 0.99), "generator": Adam(5e-4, 0.0, 0.99)},
        steps=steps,
    )
    return replace(recipe, gan_stage=gan_stage, generator_init="he")


def color_dsprites():
    """Color-dSprites. Whether the positions come to lie along the axes of c is up to the seed: see docs/results.md."""
    recipe = in_color("color-dsprites", 1, pairwise(capacity=16.0, capacity_steps=6_000), steps=5_000)
    return replace(recipe, gan_stage=replace(recipe.gan_stage, steps=6_000))


def noisy_dsprites():
    """Noisy-dSprites, whose stage 1 starts from that of Color-dSprites: from random weights the positions came to lie across the axes of c."""
    objective = pairwise(capacity=5.0, capacity_steps=1)
    return textured(
        in_color("noisy-dsprites", 2, objective, init_vae_from="color-dsprites", steps=2_000, select_every=500), 22_000
    )


def scream_dsprites():
    """Scream-dSprites, whose stage 1 is a VAE: what asks more of the code than likelihood never found the sprite (docs/results.md)."""
    return textured(
        in_color("scream-dsprites", 0, BetaVAEConfig(beta=1.0), lr=1e-3, steps=4_000, select_every=500), 18_000
    )
