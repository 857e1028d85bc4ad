"""Recipes of the synthetic data sets: dSprites and its variants. |c| = 10, without a nuisance (Tables A.2 and A.3)."""

from dataclasses import replace
from typing import Any

from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, VAEConfig
from idgan.objectives import BetaVAEConfig, CapacityFactorVAEConfig, IDGANConfig, PairwiseTCVAEConfig
from idgan.recipes.recipe import Adam, Recipe, Stage
from idgan.recipes.registry import register_recipe

__all__ = ["color_dsprites", "dsprites", "noisy_dsprites", "scream_dsprites"]


@register_recipe("dsprites")
def dsprites() -> Recipe:
    """dSprites.

    Stage 1 is FactorVAE with capacity annealing, chosen in docs/results.md. The paper allows any disentangling encoder.
    """
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


def in_color(
    name: str, seed: int, objective: Any, lr: float = 5e-4, init_vae_from: str = "", **vae_stage: Any
) -> Recipe:
    """The recipe of a variant in color: that of dSprites with another stage 1."""
    parent = dsprites()
    assert parent.vae_stage
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


def pairwise(capacity: float, capacity_steps: int) -> PairwiseTCVAEConfig:
    """The objective of stage 1 for Color- and Noisy-dSprites."""
    return PairwiseTCVAEConfig(
        tc_weight=50.0, capacity=capacity, capacity_steps=capacity_steps, weight=100.0, memory=2048
    )


def textured(recipe: Recipe, steps: int) -> Recipe:
    """`recipe` with the stage 2 for images with a textured background, see docs/results.md.

    A generator that starts with flat images never learns to draw noise. It therefore starts with `he_normal` weights.
    """
    assert recipe.gan_stage
    gan_stage = replace(
        recipe.gan_stage,
        objective=IDGANConfig(id_weight=1e-2, r1_weight=10.0, r1_interval=16),
        optimizers={"discriminator": Adam(2e-4, 0.0, 0.99), "generator": Adam(5e-4, 0.0, 0.99)},
        steps=steps,
    )
    return replace(recipe, gan_stage=gan_stage, generator_init="he")


@register_recipe("color-dsprites")
def color_dsprites() -> Recipe:
    """Color-dSprites. The seed decides whether the positions align with the axes of c, see docs/results.md."""
    recipe = in_color("color-dsprites", 1, pairwise(capacity=16.0, capacity_steps=6_000), steps=5_000)
    assert recipe.gan_stage
    return replace(recipe, gan_stage=replace(recipe.gan_stage, steps=6_000))


@register_recipe("noisy-dsprites")
def noisy_dsprites() -> Recipe:
    """Noisy-dSprites.

    Stage 1 starts from Color-dSprites, because from random weights the positions did not align with the axes of c.
    """
    objective = pairwise(capacity=5.0, capacity_steps=1)
    return textured(
        in_color("noisy-dsprites", 2, objective, init_vae_from="color-dsprites", steps=2_000, select_every=500), 22_000
    )


@register_recipe("scream-dsprites")
def scream_dsprites() -> Recipe:
    """Scream-dSprites.

    Stage 1 is a plain VAE, because stronger regularizers never found the sprite (docs/results.md).
    """
    return textured(
        in_color("scream-dsprites", 0, BetaVAEConfig(beta=1.0), lr=1e-3, steps=4_000, select_every=500), 18_000
    )
