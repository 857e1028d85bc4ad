"""Recipes of the synthetic data sets: dSprites and its variants. |c| = 10, without a nuisance (Tables A.2 and A.3)."""

from dataclasses import replace

from idgan.networks import ConvDiscriminatorConfig, ConvGeneratorConfig, TwoStackVAEConfig, VAEConfig
from idgan.objectives import GrowingVAEConfig, IDGANConfig, Phase, growing_phases, growing_phases_in_two_parts
from idgan.recipes.methods import GROWING_OPTIMIZERS
from idgan.recipes.recipe import Adam, Recipe, Stage
from idgan.recipes.registry import register_recipe

__all__ = ["color_dsprites", "dsprites", "noisy_dsprites", "scream_dsprites"]


def growing_stage(phases: tuple[Phase, ...], outliers: float = 0.0) -> Stage:
    """Stage 1 by a FactorVAE with a growing code, see docs/results.md. The paper allows any disentangling encoder."""
    return Stage(
        objective=GrowingVAEConfig(phases=phases, outliers=outliers),
        optimizers=dict(GROWING_OPTIMIZERS),
        steps=sum(phase.steps for phase in phases),
        precision="bf16",
        select_every=1000,
    )


@register_recipe("dsprites")
def dsprites() -> Recipe:
    """dSprites."""
    return Recipe(
        name="dsprites",
        data="dsprites",
        vae_stage=growing_stage(growing_phases(9_000)),
        gan_stage=Stage(
            objective=IDGANConfig(id_weight=2e-3, r1_weight=10.0, r1_interval=16),
            optimizers={"discriminator": Adam(1e-4, 0.0, 0.99), "generator": Adam(1e-3, 0.0, 0.99)},
            steps=12_000,
            precision="bf16",
            ema_decay=0.999,
        ),
    )


def in_color(name: str, vae_stage: Stage) -> Recipe:
    """The recipe of a variant in color: that of dSprites with another stage 1."""
    return replace(
        dsprites(),
        name=name,
        data=name,
        vae_stage=vae_stage,
        vae=VAEConfig(image_channels=3),
        generator=ConvGeneratorConfig(image_channels=3),
        discriminator=ConvDiscriminatorConfig(image_channels=3),
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
    """Color-dSprites. The cooldown makes the surfaces of the sprites even."""
    recipe = in_color("color-dsprites", growing_stage(growing_phases(7_000)))
    assert recipe.gan_stage
    return replace(recipe, gan_stage=replace(recipe.gan_stage, steps=15_000, cooldown_steps=3_000))


@register_recipe("noisy-dsprites")
def noisy_dsprites() -> Recipe:
    """Noisy-dSprites."""
    return textured(in_color("noisy-dsprites", growing_stage(growing_phases(7_000))), 22_000)


@register_recipe("scream-dsprites")
def scream_dsprites() -> Recipe:
    """Scream-dSprites.

    The code grows in two parts. The first dimensions learn the painting, because it explains most of an image.
    """
    vae_stage = growing_stage(growing_phases_in_two_parts(11_000), outliers=0.1)
    recipe = textured(in_color("scream-dsprites", vae_stage), 18_000)
    return replace(recipe, vae=TwoStackVAEConfig(image_channels=3))
