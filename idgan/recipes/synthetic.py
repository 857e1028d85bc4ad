"""Recipes of the synthetic sets: dSprites and its variants (|c| = 10, no nuisance code; tables A.2 and A.3)."""

from dataclasses import replace

from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig
from idgan.objectives import CapacityFactorVAEConfig, IDGANConfig
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
            objective=IDGANConfig(id_weight=1e-3, r1_weight=10.0, r1_every=16),
            optimizers={"discriminator": Adam(1e-4, 0.0, 0.99), "generator": Adam(1e-3, 0.0, 0.99)},
            steps=12_000,
            precision="bf16",
            ema_decay=0.999,
        ),
    )


def in_colour(name):
    """The recipe of dSprites for the variant `name` in colour."""
    return replace(
        dsprites(),
        name=name,
        data=name,
        vae=VAEConfig(image_channels=3),
        generator=ConvGeneratorConfig(image_channels=3),
        discriminator=ConvDiscriminatorConfig(image_channels=3),
    )


def color_dsprites():
    """Color-dSprites: dSprites' recipe."""
    return in_colour("color-dsprites")


def noisy_dsprites():
    """Noisy-dSprites: dSprites' recipe."""
    return in_colour("noisy-dsprites")


def scream_dsprites():
    """Scream-dSprites: dSprites' recipe."""
    return in_colour("scream-dsprites")
