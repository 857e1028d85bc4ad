"""Recipes of natural images (|c| = 20, |s| = 256): the settings and iterations of the reference implementation, at full size.

Stage 1 sees every image at 64x64, so that the encoder of one recipe serves all sizes of the same pictures.
"""

from dataclasses import replace

from idgan.networks import BottleneckDiscriminatorConfig, ResNetDiscriminatorConfig, ResNetGeneratorConfig, VAEConfig
from idgan.objectives import BetaVAEConfig, BottleneckIDGANConfig, IDGANConfig
from idgan.recipes.recipe import Adam, Recipe, RMSprop, Stage

__all__ = ["cars_64", "celeba_64", "celeba_64_w16", "celeba_128", "celeba_256", "celebahq_1024", "chairs_64"]


def celeba_64():
    """CelebA at 64x64 (table A.4)."""
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


def celeba_64_w16():
    """CelebA at 64x64 in a quarter of the width and a fraction of the steps: what two CPU cores train in a few hours.

    Learning rates are higher, for fewer steps; Adam without momentum and lazy R1 take the place of RMSprop and R1 at every step.
    """
    recipe = celeba_64()
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


def other_pictures(name, beta, id_weight, r1_weight):
    """The recipe of CelebA at 64x64 for the data set `name`, with its own weights of the losses."""
    recipe = celeba_64()
    return replace(
        recipe,
        name=name,
        data=name,
        vae_stage=replace(recipe.vae_stage, objective=replace(recipe.vae_stage.objective, beta=beta)),
        gan_stage=replace(recipe.gan_stage, objective=IDGANConfig(id_weight=id_weight, r1_weight=r1_weight)),
    )


def chairs_64():
    """3D Chairs at 64x64 (table A.4)."""
    return other_pictures("chairs-64", beta=10.0, id_weight=1e-4, r1_weight=1000.0)


def cars_64():
    """Cars at 64x64 (table A.4)."""
    return other_pictures("cars-64", beta=5.0, id_weight=1e-3, r1_weight=10.0)


def larger(name, resolution, batch_size):
    """The recipe of CelebA at 64x64 for the same pictures at `resolution`; `batch_size` is stage 2's."""
    recipe = celeba_64()
    return replace(
        recipe,
        name=name,
        data=name,
        generator=ResNetGeneratorConfig(resolution=resolution),
        discriminator=ResNetDiscriminatorConfig(resolution=resolution),
        gan_stage=replace(recipe.gan_stage, batch_size=batch_size),
    )


def celeba_128():
    """CelebA at 128x128 (table A.5). The reference has no settings for it: they are those of 64x64."""
    return larger("celeba-128", 128, batch_size=64)


def celeba_256():
    """CelebA at 256x256 (table A.6)."""
    return larger("celeba-256", 256, batch_size=24)


def celebahq_1024():
    """CelebA-HQ at 1024x1024, with the variational bottleneck in the discriminator (table A.7)."""
    recipe = larger("celebahq-1024", 1024, batch_size=1)
    return replace(
        recipe,
        generator=ResNetGeneratorConfig(resolution=1024, base_width=16),
        discriminator=BottleneckDiscriminatorConfig(),
        gan_stage=replace(recipe.gan_stage, objective=BottleneckIDGANConfig(id_weight=1e-4, r1_weight=10.0)),
    )
