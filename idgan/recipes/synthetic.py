"""Recipes of the synthetic sets: dSprites and its variants (|c| = 10, no nuisance code; tables A.2 and A.3)."""

from idgan.objectives import CapacityVAEConfig, IDGANConfig
from idgan.recipes.recipe import Adam, Recipe, Stage

__all__ = ["dsprites"]


def dsprites():
    """dSprites: capacity-annealed VAE, then ID-GAN."""
    return Recipe(
        name="dsprites",
        data="dsprites",
        vae_stage=Stage(
            objective=CapacityVAEConfig(capacity=25.0, capacity_steps=30_000, weight=100.0),
            optimizers={"vae": Adam(5e-4)},
            steps=30_000,
            precision="bf16",
            select_every=1000,
        ),
        gan_stage=Stage(
            objective=IDGANConfig(id_weight=1e-3, r1_weight=10.0, r1_every=16),
            optimizers={"discriminator": Adam(1e-4, 0.0, 0.99), "generator": Adam(1e-3, 0.0, 0.99)},
            steps=10_000,
            precision="bf16",
            ema_decay=0.999,
        ),
    )
