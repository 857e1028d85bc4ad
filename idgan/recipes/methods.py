"""The methods that the paper compares.

Each is a function from a two-stage recipe to the recipe of that method on the same data.

Networks, optimizers, steps and batch sizes stay those of the parent recipe, unless the method needs others. Joint
methods train for the steps of the parent's stage 2.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from idgan.data import SPRITES, ScreamDSprites, is_dsprites
from idgan.errors import InvalidInputError
from idgan.networks import (
    BottleneckDiscriminatorConfig,
    ConvDiscriminatorConfig,
    LogitHeadConfig,
    ProjectedDiscriminatorConfig,
    ProjectionDiscriminatorConfig,
    ResNetDiscriminatorConfig,
    ResNetEncoderConfig,
    ResNetGeneratorConfig,
)
from idgan.objectives import (
    BetaTCVAEConfig,
    BetaVAEConfig,
    BottleneckGANConfig,
    CapacityVAEConfig,
    ConditionalGANConfig,
    EndToEndIDGANConfig,
    FactorVAEConfig,
    GANConfig,
    GrowingVAEConfig,
    InfoGANConfig,
    ProjectedIDGANConfig,
    VAEGANConfig,
    growing_phases,
)
from idgan.recipes.recipe import Adam, Recipe, Stage, decoder_config, has_decoder_shape, single_stack
from idgan.recipes.settings import describe
from idgan.registry import Registry

__all__ = ["METHODS", "Method", "apply_method", "method_of", "register_method"]

Method = Callable[[Recipe], Recipe]

METHODS: Registry[Method] = Registry("method", InvalidInputError)
"""Name -> function from a two-stage recipe to the recipe of the method."""

register_method = METHODS.register

SYNTHETIC_BETA = 8.0
"""beta of the paper's beta-VAE on dSprites and its variants."""
TC_DISCRIMINATOR_OPTIMIZER = Adam(1e-4, 0.5, 0.9)
BASELINE_OPTIMIZER = Adam(5e-4)
"""Optimizer of other VAEs if the recipe has `GROWING_OPTIMIZERS`, which fit the schedule of a growing VAE only."""
GROWING_OPTIMIZERS = {"vae": Adam(1e-3), "tc_discriminator": Adam(3e-4, 0.5, 0.9)}


@register_method("id-gan")
def id_gan(recipe: Recipe) -> Recipe:
    """ID-GAN in two stages: the recipe itself."""
    return recipe


@register_method("without-distillation")
def without_distillation(recipe: Recipe) -> Recipe:
    """ID-GAN with `id_weight` 0. The generator starts from random weights."""
    stage = _gan_stage(recipe)
    _field(recipe, "gan", "id_weight")  # an objective without it has no distillation to leave out
    stage = replace(stage, objective=replace(stage.objective, id_weight=0.0))
    return _with_random_generator(replace(recipe, gan_stage=stage))


@register_method("cgan")
def cgan(recipe: Recipe) -> Recipe:
    """Two stages, the second a conditional GAN. D sees (x, c), and there is no R_ID.

    The generator starts from random weights.
    """
    if not isinstance(recipe.discriminator, (ConvDiscriminatorConfig, ResNetDiscriminatorConfig)):
        raise InvalidInputError(
            f"method 'cgan' needs a ConvDiscriminator or a ResNetDiscriminator; "
            f"recipe {recipe.name} has {_kind(recipe.discriminator)}"
        )
    stage = replace(_gan_stage(recipe), objective=_adversarial(ConditionalGANConfig, recipe, "cgan"))
    discriminator = ProjectionDiscriminatorConfig(recipe.discriminator, recipe.vae.c_dim)
    return _with_random_generator(replace(recipe, gan_stage=stage, discriminator=discriminator))


@register_method("projected")
def projected(recipe: Recipe) -> Recipe:
    """ID-GAN with a discriminator that reads features of a frozen network (Sauer et al. 2021).

    The frozen network is dsprites-convnet for dSprites and its variants, and EfficientNet-Lite1 for other images.
    On sprites, the batch has at most 32 images, and the generator has a higher learning rate. It starts from the
    decoder if it has its shape, unless the recipe chooses other initial weights.
    """
    on_sprites = _has_sprites(recipe)
    optimizers = {
        "discriminator": Adam(2e-4, 0.0, 0.99),
        "generator": Adam(3e-4 if on_sprites else 1e-4, 0.0, 0.99),
    }
    stage = replace(_gan_stage(recipe), objective=ProjectedIDGANConfig(), optimizers=optimizers, ema_decay=0.995)
    discriminator = ProjectedDiscriminatorConfig(
        features="dsprites-convnet" if on_sprites else "efficientnet-lite1",
        resolution=recipe.generator.resolution,
        image_channels=recipe.generator.image_channels,
    )
    if on_sprites:
        stage = replace(stage, batch_size=min(32, stage.batch_size))
        if recipe.generator_init == "torch" and has_decoder_shape(recipe.generator, recipe.vae):
            recipe = replace(recipe, generator_init="decoder")
    return replace(recipe, gan_stage=stage, discriminator=discriminator)


@register_method("reconstructing")
def reconstructing(recipe: Recipe) -> Recipe:
    """The method projected, with a generator that also learns to reconstruct images.

    A second encoder infers the nuisance s of each image (see `ProjectedIDGAN`). The first half of the steps trains the
    reconstruction alone. A generator without s gets an s of 8 numbers. On sprites, the second encoder reads images with
    random shifts of up to 16 pixels. On Scream-dSprites it does not, because a shift would hide which piece of the
    painting an image shows. The settings were found on dSprites.
    """
    parent, recipe = _gan_stage(recipe), projected(recipe)
    stage = _gan_stage(recipe)
    objective = replace(
        stage.objective,
        reconstruction_weight=0.05,
        likelihood=_likelihood(recipe),
        s_beta=0.5,
        s_shift=16 if _has_sprites(recipe) and not _has_painting(recipe) else 0,
        reconstruction_steps=stage.steps // 2,
    )
    optimizers = {**stage.optimizers, "generator": Adam(1e-3, 0.9, 0.999)}
    stage = replace(stage, objective=objective, optimizers=optimizers, batch_size=parent.batch_size)
    generator = recipe.generator
    if generator.s_dim == 0:
        generator = replace(generator, s_dim=8)
    return replace(recipe, gan_stage=stage, generator=generator)


@register_method("end-to-end")
def end_to_end(recipe: Recipe) -> Recipe:
    """ID-GAN in one stage. The encoder is trained as a beta-VAE and by the GAN at the same time."""
    optimizers = {"vae": _baseline_optimizers(recipe)["vae"], **_gan_stage(recipe).optimizers}
    id_weight = _field(recipe, "gan", "id_weight")
    objective = _adversarial(
        EndToEndIDGANConfig, recipe, "end-to-end", id_weight=id_weight, stage_1=_beta_vae_config(recipe)
    )
    return _in_one_stage(recipe, objective, optimizers)


@register_method("vae-gan")
def vae_gan(recipe: Recipe) -> Recipe:
    """beta-VAE with an adversarial loss on its decoder, which is the generator."""
    optimizers = {
        "vae": _baseline_optimizers(recipe)["vae"],
        "discriminator": _optimizer(recipe, "gan", "discriminator"),
    }
    objective = _adversarial(VAEGANConfig, recipe, "vae-gan", stage_1=_beta_vae_config(recipe))
    return _with_decoder_as_generator(_in_one_stage(recipe, objective, optimizers), "vae-gan", recipe.discriminator)


@register_method("gan")
def gan(recipe: Recipe) -> Recipe:
    """A GAN alone. The VAE stays untrained.

    The noise is c and s together, from N(0, I). On natural images it has the width of the recipe's s, 256 in the paper.
    A discriminator with a bottleneck stays (VGAN).
    """
    bottleneck = isinstance(recipe.discriminator, BottleneckDiscriminatorConfig)
    kind = BottleneckGANConfig if bottleneck else GANConfig
    objective = kind(**{item.name: _field(recipe, "gan", item.name) for item in fields(kind)})
    generator = recipe.generator
    if isinstance(generator, ResNetGeneratorConfig) and generator.s_dim > generator.c_dim:
        generator = replace(generator, s_dim=generator.s_dim - generator.c_dim)
    return replace(_in_one_stage(recipe, objective, _gan_stage(recipe).optimizers), generator=generator)


@register_method("infogan")
def infogan(recipe: Recipe) -> Recipe:
    """InfoGAN.

    Codes are from N(0, I). The encoder is on D's trunk and learns to read the codes. Its decoder stays untrained. On
    natural images, the encoder is a `ResNetEncoder`, which has no decoder and sees images at their full resolution.
    """
    stage, trunk, vae, head = _gan_stage(recipe), recipe.discriminator, single_stack(recipe.vae), LogitHeadConfig()
    if isinstance(trunk, ResNetDiscriminatorConfig):
        shape = {item.name: getattr(trunk, item.name) for item in fields(ResNetDiscriminatorConfig)}
        vae = ResNetEncoderConfig(**shape, c_dim=recipe.vae.c_dim)
        head = LogitHeadConfig(vae.features)
    elif not isinstance(trunk, ConvDiscriminatorConfig):
        raise InvalidInputError(
            f"method 'infogan' needs a ConvDiscriminator or a ResNetDiscriminator; "
            f"recipe {recipe.name} has {_kind(trunk)}"
        )
    objective = _adversarial(InfoGANConfig, recipe, "infogan", id_weight=_field(recipe, "gan", "id_weight"))
    return replace(_in_one_stage(recipe, objective, stage.optimizers), vae=vae, discriminator=head)


@register_method("vae")
def vae(recipe: Recipe) -> Recipe:
    """A VAE alone: beta-VAE with `beta` 1."""
    return _stage_1_only(recipe, "vae", replace(_beta_vae_config(recipe), beta=1.0))


@register_method("beta-vae")
def beta_vae(recipe: Recipe) -> Recipe:
    """beta-VAE alone, with the paper's beta for the data set."""
    return _stage_1_only(recipe, "beta-vae", _beta_vae_config(recipe))


@register_method("capacity-vae")
def capacity_vae(recipe: Recipe) -> Recipe:
    """A VAE alone, with capacity annealing by the defaults of `CapacityVAEConfig`.

    On dSprites, the capacity rises for longer than stage 1 lasts.
    """
    return _stage_1_only(recipe, "capacity-vae", CapacityVAEConfig(likelihood=_likelihood(recipe)))


@register_method("factor-vae")
def factor_vae(recipe: Recipe) -> Recipe:
    """FactorVAE alone, with the weight that its authors use on dSprites."""
    objective = FactorVAEConfig(likelihood=_likelihood(recipe))
    return _stage_1_only(recipe, "factor-vae", objective, tc_discriminator=TC_DISCRIMINATOR_OPTIMIZER)


@register_method("beta-tcvae")
def beta_tcvae(recipe: Recipe) -> Recipe:
    """beta-TCVAE alone."""
    return _stage_1_only(recipe, "beta-tcvae", BetaTCVAEConfig(likelihood=_likelihood(recipe)))


@register_method("growing-vae")
def growing_vae(recipe: Recipe) -> Recipe:
    """A VAE alone, whose code dimensions are unlocked in phases.

    If stage 1 of the recipe is such a VAE, its schedule stays as it is.
    """
    stage = replace(_vae_stage(recipe), optimizers=dict(GROWING_OPTIMIZERS))
    if not isinstance(stage.objective, GrowingVAEConfig):
        objective = GrowingVAEConfig(likelihood=_likelihood(recipe), phases=growing_phases(stage.steps))
        stage = replace(stage, objective=objective)
    one_stage = replace(recipe, vae_stage=stage, gan_stage=None, init_vae_from="")
    return _with_decoder_as_generator(one_stage, "growing-vae", None)


def apply_method(recipe: Recipe, method: str) -> Recipe:
    """The recipe of `method` that derives from `recipe`.

    Raises:
        InvalidInputError: no method has that name, it does not fit the networks, or `recipe` lacks a stage.
    """
    derive = METHODS[method]
    if method != "id-gan" and len(recipe.stages) < 2:
        (stage,) = recipe.stages
        raise InvalidInputError(
            f"method {method!r} needs a recipe with two stages; {recipe.name} has only the stage {stage!r}"
        )
    return derive(recipe)


def method_of(recipe: Recipe, parent: Recipe) -> tuple[str, dict[str, Any]] | None:
    """The method that makes `recipe` from `parent`: (name, the settings that still differ as dotted path -> value).

    The method with the fewest differences wins. Among equals, the first in `METHODS` wins.

    Returns:
        None if no method leads to the same parts with other settings.
    """
    settings, best = describe(recipe), None
    for name in METHODS:
        try:
            derived = describe(apply_method(parent, name))
        except InvalidInputError:
            continue
        changes = {path: value for path, value in settings.items() if derived.get(path) != value}
        same_parts = settings.keys() == derived.keys() and not any(path.endswith(".type") for path in changes)
        if same_parts and (best is None or len(changes) < len(best[1])):
            best = name, changes
    return best


def _has_sprites(recipe: Recipe) -> bool:
    """Whether the data of `recipe` are dSprites or one of its variants, for which dsprites-convnet was trained."""
    return recipe.data in SPRITES if isinstance(recipe.data, str) else is_dsprites(recipe.data)


def _has_painting(recipe: Recipe) -> bool:
    """Whether the data of `recipe` are Scream-dSprites."""
    return recipe.data == "scream-dsprites" or isinstance(recipe.data, ScreamDSprites)


def _vae_stage(recipe: Recipe) -> Stage:
    return recipe.stages["vae"]


def _gan_stage(recipe: Recipe) -> Stage:
    return recipe.stages["gan"]


def _field(recipe: Recipe, stage: str, name: str) -> Any:
    """The field `name` of the objective of a stage. An objective of a user's own may lack it."""
    objective = recipe.stages[stage].objective
    if not hasattr(objective, name):
        raise InvalidInputError(f"this method needs the setting {name!r}; {_kind(objective)} of {recipe.name} lacks it")
    return getattr(objective, name)


def _optimizer(recipe: Recipe, stage: str, phase: str) -> Any:
    """The optimizer of a phase. A stage of a user's own may have other phases."""
    optimizers = recipe.stages[stage].optimizers
    if phase not in optimizers:
        raise InvalidInputError(f"this method needs an optimizer of the phase {phase!r}; {recipe.name} lacks it")
    return optimizers[phase]


def _baseline_optimizers(recipe: Recipe) -> dict[str, Any]:
    """Phase -> optimizer of stage 1, with an optimizer of "vae". `GROWING_OPTIMIZERS` of a growing VAE are left out."""
    _optimizer(recipe, "vae", "vae")  # raises if the recipe lacks it
    stage = _vae_stage(recipe)
    if not isinstance(stage.objective, GrowingVAEConfig):
        return stage.optimizers
    changed = {phase: each for phase, each in stage.optimizers.items() if each != GROWING_OPTIMIZERS.get(phase)}
    return {"vae": BASELINE_OPTIMIZER} | changed


def _kind(config: object) -> str:
    return type(config).__name__.removesuffix("Config")


def _adversarial(kind: Callable[..., Any], recipe: Recipe, method: str, **more: Any) -> Any:
    """A config of `kind` with the recipe's settings of R1 and of fakes."""
    if isinstance(recipe.discriminator, BottleneckDiscriminatorConfig):
        raise InvalidInputError(
            f"method {method!r} has no objective for the {_kind(recipe.discriminator)} of recipe {recipe.name}"
        )
    return kind(**{item.name: _field(recipe, "gan", item.name) for item in fields(GANConfig)}, **more)


def _with_random_generator(recipe: Recipe) -> Recipe:
    """`recipe` with random initial weights of the generator.

    A generator that was distilled, or that starts as the decoder, draws the code already. In a method without
    distillation, it would hide what the method does to the code.
    """
    init = "torch" if recipe.generator_init == "decoder" else recipe.generator_init
    return replace(recipe, init_generator_from="", generator_init=init)


def _in_one_stage(recipe: Recipe, objective: Any, optimizers: dict[str, Any]) -> Recipe:
    """`recipe` with stage 2 alone, trained by `objective`."""
    stage = replace(_gan_stage(recipe), objective=objective, optimizers=optimizers)
    recipe = replace(recipe, vae=single_stack(recipe.vae))
    return replace(recipe, vae_stage=None, gan_stage=stage, init_vae_from="", init_generator_from="")


def _stage_1_only(recipe: Recipe, method: str, objective: Any, **optimizers: Any) -> Recipe:
    """`recipe` with stage 1 alone, trained by `objective`.

    `optimizers` are those of phases besides "vae". The parent's optimizer of a phase takes precedence.
    """
    given = _baseline_optimizers(recipe)
    chosen = {"vae": given["vae"]} | {phase: given.get(phase, optimizer) for phase, optimizer in optimizers.items()}
    stage = replace(_vae_stage(recipe), objective=objective, optimizers=chosen)
    one_stage = replace(recipe, vae=single_stack(recipe.vae), vae_stage=stage, gan_stage=None, init_vae_from="")
    return _with_decoder_as_generator(one_stage, method, None)


def _with_decoder_as_generator(recipe: Recipe, method: str, discriminator: Any) -> Recipe:
    """`recipe` with a generator of the decoder's shape."""
    size, resolution = recipe.vae.resolution, recipe.generator.resolution
    if resolution != size:
        raise InvalidInputError(
            f"method {method!r} generates {size}x{size} images; recipe {recipe.name} needs {resolution}x{resolution}"
        )
    return replace(recipe, generator=decoder_config(recipe.vae), discriminator=discriminator, init_generator_from="")


def _likelihood(recipe: Recipe) -> str:
    likelihood: str = _field(recipe, "vae", "likelihood")
    return likelihood


def _beta_vae_config(recipe: Recipe) -> BetaVAEConfig:
    """The paper's beta-VAE on the recipe's data. A recipe's own beta of 1 is a plain VAE and not the paper's choice."""
    objective = _vae_stage(recipe).objective
    if isinstance(objective, BetaVAEConfig) and objective.beta != 1:
        return objective
    return BetaVAEConfig(likelihood=_likelihood(recipe), beta=SYNTHETIC_BETA)
