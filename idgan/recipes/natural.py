"""Recipes of natural images: |c| = 20, |s| = 256, with the settings and steps of the reference implementation.

Stage 1 sees every image at 64x64. The encoder of one recipe therefore serves all resolutions of the same images.
"""

from dataclasses import replace

from idgan.networks import BottleneckDiscriminatorConfig, ResNetDiscriminatorConfig, ResNetGeneratorConfig, VAEConfig
from idgan.objectives import BetaVAEConfig, BottleneckIDGANConfig, IDGANConfig
from idgan.recipes.methods import projected
from idgan.recipes.recipe import Adam, Recipe, RMSprop, Stage
from idgan.recipes.registry import register_recipe

__all__ = [
    "cars_64",
    "cars_64_w32",
    "celeba_64",
    "celeba_64_w16",
    "celeba_64_w32",
    "celeba_128",
    "celeba_128_w16",
    "celeba_256",
    "celebahq_1024",
    "chairs_64",
]


@register_recipe("celeba-64")
def celeba_64() -> Recipe:
    """CelebA at 64x64 (Table A.4)."""
    return Recipe(
        name="celeba-64",
        data="celeba-64",
        vae=VAEConfig(c_dim=20, image_channels=3),
        generator=ResNetGeneratorConfig(),
        discriminator=ResNetDiscriminatorConfig(),
        vae_stage=Stage(
            objective=BetaVAEConfig(beta=6.4, likelihood="squared-error"),
            optimizers={"vae": Adam(1e-4)},
            steps=1_000_000,
        ),
        gan_stage=Stage(
            objective=IDGANConfig(id_weight=1e-3, r1_weight=10.0),
            optimizers={"discriminator": RMSprop(1e-4), "generator": RMSprop(1e-4)},
            steps=300_000,
            ema_decay=0.999,
            flip=True,
            dequantize=True,
        ),
    )


@register_recipe("celeba-64-w16")
def celeba_64_w16() -> Recipe:
    """CelebA at 64x64 with a quarter of the width and fewer steps, for a few hours on two CPU cores.

    The learning rates are higher. Adam without momentum replaces RMSprop, and lazy R1 replaces R1 at every step.
    """
    recipe = celeba_64()
    assert recipe.vae_stage and recipe.gan_stage
    return replace(
        recipe,
        name="celeba-64-w16",
        generator=ResNetGeneratorConfig(base_width=16),
        discriminator=ResNetDiscriminatorConfig(base_width=16),
        vae_stage=replace(recipe.vae_stage, optimizers={"vae": Adam(5e-4)}, steps=12_000),
        gan_stage=replace(
            recipe.gan_stage,
            objective=IDGANConfig(id_weight=1e-3, r1_weight=10.0, r1_interval=16),
            optimizers={"discriminator": Adam(2e-4, 0.0, 0.99), "generator": Adam(2e-4, 0.0, 0.99)},
            steps=25_000,
            batch_size=16,
        ),
    )


@register_recipe("celeba-64-w32")
def celeba_64_w32() -> Recipe:
    """CelebA at 64x64 with half of the width and a projected discriminator, for some hours on two CPU cores.

    VAE and generator start from the weights of celeba-64-w16. The generator's learning rate is three times that of
    the method `projected`, see docs/results.md.
    """
    recipe = projected(replace(celeba_64_w16(), generator=ResNetGeneratorConfig(base_width=32)))
    assert recipe.vae_stage and recipe.gan_stage
    return replace(
        recipe,
        name="celeba-64-w32",
        vae_stage=replace(recipe.vae_stage, optimizers={"vae": Adam(3e-4)}, steps=15_000, precision="bf16", flip=True),
        gan_stage=replace(
            recipe.gan_stage,
            optimizers={**recipe.gan_stage.optimizers, "generator": Adam(3e-4, 0.0, 0.99)},
            steps=23_000,
            cooldown_steps=4_000,
            precision="bf16",
            ema_decay=0.998,
        ),
        init_vae_from="celeba-64-w16",
        init_generator_from="celeba-64-w16",
    )


@register_recipe("celeba-64-w64")
def celeba_64_w64() -> Recipe:
    """CelebA at 64x64 with the paper's width and a projected discriminator, for some minutes on a GPU.

    Stage 1 is that of celeba-64-w32. The generator starts from the widened generator of celeba-64-w32. Its first block
    starts with new weights.
    """
    recipe = celeba_64_w32()
    assert recipe.gan_stage
    return replace(
        recipe,
        name="celeba-64-w64",
        generator=ResNetGeneratorConfig(),
        gan_stage=replace(recipe.gan_stage, steps=3_766, batch_size=128, cooldown_steps=1_189),
        init_generator_from="celeba-64-w32",
    )


def other_images(name: str, beta: float, id_weight: float, r1_weight: float) -> Recipe:
    """The recipe of CelebA at 64x64 for the data set `name`, with other weights of the losses."""
    recipe = celeba_64()
    assert recipe.vae_stage and recipe.gan_stage
    return replace(
        recipe,
        name=name,
        data=name,
        vae_stage=replace(recipe.vae_stage, objective=replace(recipe.vae_stage.objective, beta=beta)),
        gan_stage=replace(recipe.gan_stage, objective=IDGANConfig(id_weight=id_weight, r1_weight=r1_weight)),
    )


@register_recipe("chairs-64")
def chairs_64() -> Recipe:
    """3D Chairs at 64x64 (Table A.4)."""
    return other_images("chairs-64", beta=10.0, id_weight=1e-4, r1_weight=1000.0)


@register_recipe("cars-64")
def cars_64() -> Recipe:
    """Cars at 64x64 (Table A.4)."""
    return other_images("cars-64", beta=5.0, id_weight=1e-3, r1_weight=10.0)


@register_recipe("cars-64-w32")
def cars_64_w32() -> Recipe:
    """Cars at 64x64 with half of the width and a projected discriminator, for some hours on two CPU cores.

    The generator starts from that of celeba-64-w32. The VAE starts from random weights.
    """
    recipe, paper = celeba_64_w32(), cars_64()
    assert recipe.vae_stage and recipe.gan_stage and paper.vae_stage
    vae_stage = replace(
        recipe.vae_stage, objective=paper.vae_stage.objective, optimizers={"vae": Adam(5e-4)}, steps=12_000
    )
    return replace(
        recipe,
        name="cars-64-w32",
        data="cars-64",
        vae_stage=vae_stage,
        gan_stage=replace(recipe.gan_stage, steps=14_000, cooldown_steps=0),
        init_vae_from="",
        init_generator_from="celeba-64-w32",
    )


def larger(name: str, resolution: int, batch_size: int) -> Recipe:
    """The recipe of CelebA at 64x64 for the same images at `resolution`, with `batch_size` in stage 2."""
    recipe = celeba_64()
    assert recipe.gan_stage
    return replace(
        recipe,
        name=name,
        data=name,
        generator=ResNetGeneratorConfig(resolution=resolution),
        discriminator=ResNetDiscriminatorConfig(resolution=resolution),
        gan_stage=replace(recipe.gan_stage, batch_size=batch_size),
    )


@register_recipe("celeba-128")
def celeba_128() -> Recipe:
    """CelebA at 128x128 (Table A.5).

    The reference implementation has no settings for it, so they are those of 64x64.
    """
    return larger("celeba-128", 128, batch_size=64)


@register_recipe("celeba-128-w16")
def celeba_128_w16() -> Recipe:
    """CelebA at 128x128 with a quarter of the width and a projected discriminator, for some hours on two CPU cores.

    Stage 1 is that of celeba-64-w32. The generator starts with the weights of celeba-64-w32 up to maps of 64x64.
    """
    recipe = celeba_64_w32()
    assert recipe.gan_stage
    return replace(
        recipe,
        name="celeba-128-w16",
        data="celeba-128",
        generator=ResNetGeneratorConfig(resolution=128, base_width=16),
        discriminator=replace(recipe.discriminator, resolution=128),
        gan_stage=replace(recipe.gan_stage, steps=8_000, cooldown_steps=0),
        init_generator_from="celeba-64-w32",
    )


@register_recipe("celeba-256")
def celeba_256() -> Recipe:
    """CelebA at 256x256 (Table A.6)."""
    return larger("celeba-256", 256, batch_size=24)


@register_recipe("celebahq-1024")
def celebahq_1024() -> Recipe:
    """CelebA-HQ at 1024x1024, with a variational bottleneck in the discriminator (Table A.7)."""
    recipe = larger("celebahq-1024", 1024, batch_size=1)
    assert recipe.gan_stage
    return replace(
        recipe,
        generator=ResNetGeneratorConfig(resolution=1024, base_width=16),
        discriminator=BottleneckDiscriminatorConfig(),
        gan_stage=replace(recipe.gan_stage, objective=BottleneckIDGANConfig(id_weight=1e-4, r1_weight=10.0)),
    )
