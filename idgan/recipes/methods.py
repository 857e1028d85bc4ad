"""The methods that the paper compares, each as a function from a recipe to the recipe of that method on the same data.

What is not said here is the parent's: networks, optimizers, steps, batches. Joint methods train for the steps of the parent's stage 2.
Those that share no encoder with the parent start from random weights.
"""

from dataclasses import fields, replace

from idgan.errors import InvalidInputError
from idgan.networks import (
    BottleneckDiscriminatorConfig,
    ConvDiscriminatorConfig,
    ConvGeneratorConfig,
    LogitHeadConfig,
    ProjectionDiscriminatorConfig,
    ResNetDiscriminatorConfig,
)
from idgan.objectives import (
    BetaTCVAEConfig,
    BetaVAEConfig,
    CapacityVAEConfig,
    ConditionalGANConfig,
    EndToEndIDGANConfig,
    FactorVAEConfig,
    GANConfig,
    InfoGANConfig,
    VAEGANConfig,
)
from idgan.recipes.recipe import Adam, describe

__all__ = ["METHODS", "apply_method", "method_of"]

SYNTHETIC_BETA = 8.0
"""Of the paper's beta-VAE on dSprites and its variants; the recipes of natural images name theirs."""
CRITIC = Adam(1e-4, 0.5, 0.9)


def id_gan(recipe):
    """ID-GAN, in two stages: the recipe itself."""
    return recipe


def without_distillation(recipe):
    """ID-GAN with `id_weight` 0."""
    return replace(
        recipe, gan_stage=replace(recipe.gan_stage, objective=replace(recipe.gan_stage.objective, id_weight=0.0))
    )


def cgan(recipe):
    """Two stages, the second a conditional GAN: D sees (x, c), and there is no R_ID."""
    if not isinstance(recipe.discriminator, (ConvDiscriminatorConfig, ResNetDiscriminatorConfig)):
        raise InvalidInputError(
            f"cgan needs a discriminator that ends in one linear layer; {recipe.name} has {_kind(recipe.discriminator)}"
        )
    stage = replace(recipe.gan_stage, objective=_adversarial(ConditionalGANConfig, recipe))
    return replace(
        recipe, gan_stage=stage, discriminator=ProjectionDiscriminatorConfig(recipe.discriminator, recipe.vae.c_dim)
    )


def end_to_end(recipe):
    """ID-GAN in one stage: its encoder is trained as a beta-VAE and by the GAN at the same time."""
    optimizers = {"vae": recipe.vae_stage.optimizers["vae"], **recipe.gan_stage.optimizers}
    objective = _adversarial(
        EndToEndIDGANConfig, recipe, id_weight=recipe.gan_stage.objective.id_weight, stage_1=_beta_vae(recipe)
    )
    return _in_one_stage(recipe, objective, optimizers)


def vae_gan(recipe):
    """beta-VAE with an adversarial loss on its decoder, which is the generator."""
    optimizers = {
        "vae": recipe.vae_stage.optimizers["vae"],
        "discriminator": recipe.gan_stage.optimizers["discriminator"],
    }
    objective = _adversarial(VAEGANConfig, recipe, stage_1=_beta_vae(recipe))
    return _decoding(_in_one_stage(recipe, objective, optimizers), "vae-gan", recipe.discriminator)


def gan(recipe):
    """A GAN alone, with code and nuisance from N(0, I). Its encoder and decoder stay untrained."""
    return _in_one_stage(recipe, _adversarial(GANConfig, recipe), recipe.gan_stage.optimizers)


def infogan(recipe):
    """InfoGAN: codes from N(0, I), and the encoder, on D's trunk, trained along to read them. Its decoder stays untrained."""
    if not isinstance(recipe.discriminator, ConvDiscriminatorConfig):
        raise InvalidInputError(
            f"infogan is for the synthetic sets, whose D has the encoder's layers; {recipe.name} has {_kind(recipe.discriminator)}"
        )
    objective = _adversarial(InfoGANConfig, recipe, id_weight=recipe.gan_stage.objective.id_weight)
    return replace(_in_one_stage(recipe, objective, recipe.gan_stage.optimizers), discriminator=LogitHeadConfig())


def vae(recipe):
    """A VAE alone: beta-VAE with `beta` 1."""
    return _stage_1_only(recipe, "vae", replace(_beta_vae(recipe), beta=1.0))


def beta_vae(recipe):
    """beta-VAE alone, with the data set's beta of the paper."""
    return _stage_1_only(recipe, "beta-vae", _beta_vae(recipe))


def capacity_vae(recipe):
    """A VAE under capacity annealing alone, as `CapacityVAEConfig` has it; its capacity rises for longer than dSprites' stage 1 lasts."""
    return _stage_1_only(recipe, "capacity-vae", CapacityVAEConfig(likelihood=_likelihood(recipe)))


def factor_vae(recipe):
    """FactorVAE alone, with the weight that its authors use on dSprites."""
    return _stage_1_only(recipe, "factor-vae", FactorVAEConfig(likelihood=_likelihood(recipe)), tc_discriminator=CRITIC)


def beta_tcvae(recipe):
    """beta-TCVAE alone."""
    return _stage_1_only(recipe, "beta-tcvae", BetaTCVAEConfig(likelihood=_likelihood(recipe)))


METHODS = {
    "id-gan": id_gan,
    "without-distillation": without_distillation,
    "cgan": cgan,
    "end-to-end": end_to_end,
    "vae-gan": vae_gan,
    "gan": gan,
    "infogan": infogan,
    "vae": vae,
    "beta-vae": beta_vae,
    "capacity-vae": capacity_vae,
    "factor-vae": factor_vae,
    "beta-tcvae": beta_tcvae,
}
"""Name -> function from a two-stage recipe to that of the method."""


def apply_method(recipe, method):
    """The recipe of `method` that derives from `recipe`.

    Raises:
        InvalidInputError: there is no such method, or not for this recipe's networks, or `recipe` has not both stages.
    """
    if method not in METHODS:
        raise InvalidInputError(f"no method is called {method!r}; the methods are {', '.join(METHODS)}")
    if method != "id-gan" and len(recipe.stages) < 2:
        raise InvalidInputError(
            f"a method derives from a recipe of two stages; {recipe.name} has only the stage {recipe.stages[0]}"
        )
    return METHODS[method](recipe)


def method_of(recipe, parent):
    """Which method `recipe` is, if it derives from `parent`: (name, dotted path -> value of the settings that differ from that method's).

    The one with the fewest differences; among equals, the first in `METHODS`.

    Returns:
        None if every method differs in more than settings, such as in the class of a part.
    """
    here, best = describe(recipe), None
    for name in METHODS:
        try:
            there = describe(apply_method(parent, name))
        except InvalidInputError:
            continue
        changes = {path: value for path, value in here.items() if there.get(path) != value}
        fits = here.keys() == there.keys() and not any(path.endswith(".type") for path in changes)
        if fits and (best is None or len(changes) < len(best[1])):
            best = name, changes
    return best


def _kind(config):
    return type(config).__name__.removesuffix("Config")


def _adversarial(kind, recipe, **more):
    """A config of `kind` with what the recipe's GAN says of R1 and of its fakes."""
    if isinstance(recipe.discriminator, BottleneckDiscriminatorConfig):
        raise InvalidInputError(f"only ID-GAN has an objective for the {_kind(recipe.discriminator)} of {recipe.name}")
    return kind(**{item.name: getattr(recipe.gan_stage.objective, item.name) for item in fields(GANConfig)}, **more)


def _in_one_stage(recipe, objective, optimizers):
    """`recipe` with stage 2 alone, set to `objective`."""
    gan_stage = replace(recipe.gan_stage, objective=objective, optimizers=optimizers)
    return replace(recipe, vae_stage=None, gan_stage=gan_stage, init_vae_from="")


def _stage_1_only(recipe, method, objective, **optimizers):
    """`recipe` with stage 1 alone, set to `objective`; `optimizers` of phases beside "vae", for which the parent has none."""
    parent = recipe.vae_stage
    chosen = {"vae": parent.optimizers["vae"]} | {
        phase: parent.optimizers.get(phase, optimizer) for phase, optimizer in optimizers.items()
    }
    stage = replace(parent, objective=objective, optimizers=chosen)
    return _decoding(replace(recipe, vae_stage=stage, gan_stage=None, init_vae_from=""), method, None)


def _decoding(recipe, method, discriminator):
    """`recipe` with the decoder's shape for the generator's."""
    if recipe.generator.resolution != recipe.vae.resolution:
        size = recipe.vae.resolution
        raise InvalidInputError(
            f"{method} draws by its decoder, at {size}x{size}; {recipe.name} is of {recipe.generator.resolution} pixels"
        )
    generator = ConvGeneratorConfig(recipe.vae.c_dim, 0, recipe.vae.image_channels)
    return replace(recipe, generator=generator, discriminator=discriminator)


def _likelihood(recipe):
    return recipe.vae_stage.objective.likelihood


def _beta_vae(recipe):
    """beta-VAE as the paper sets it on the recipe's data."""
    objective = recipe.vae_stage.objective
    if (
        isinstance(objective, BetaVAEConfig) and objective.beta != 1
    ):  # 1: a VAE, chosen for the recipe and not by the paper
        return objective
    return BetaVAEConfig(likelihood=_likelihood(recipe), beta=SYNTHETIC_BETA)
