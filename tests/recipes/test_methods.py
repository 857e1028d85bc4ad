import dataclasses
import json

import pytest
import torch

from idgan.data import open_dataset
from idgan.errors import InvalidInputError
from idgan.networks import ConvGeneratorConfig, ModelConfig, ProjectionDiscriminatorConfig, VAEConfig
from idgan.objectives import BetaVAEConfig, BottleneckGANConfig, CapacityVAEConfig, ConditionalGANConfig
from idgan.recipes import METHODS, RECIPES, Adam, apply_method, describe, method_of, override, recipe_of

SYNTHETIC = ("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites")
SMALL_PICTURES = ("celeba-64", "celeba-64-w16", "chairs-64", "cars-64")
PROJECTED = ("cars-64-w32", "celeba-64-w32", "celeba-64-w64", "celeba-128-w16")
LARGE_PICTURES = ("celeba-128", "celeba-256")
TWO_STAGES = ("id-gan", "without-distillation", "cgan", "projected", "reconstructing")
ON_FEATURES = ("projected", "reconstructing")
DECODERS = ("vae-gan", "vae", "beta-vae", "capacity-vae", "factor-vae", "beta-tcvae", "growing-vae")


def exists(method, name):
    """Whether the paper, or good sense, has that method for that recipe's networks."""
    if name in SYNTHETIC:
        return True
    if method in DECODERS and "-64" not in name:
        return False
    if name in PROJECTED:
        return method not in ("cgan", "infogan")
    any_size = ("id-gan", "without-distillation", "gan", *ON_FEATURES)
    return name in SMALL_PICTURES + LARGE_PICTURES or method in any_size


EXISTING = [(method, name) for name in sorted(RECIPES) for method in METHODS if exists(method, name)]
each = pytest.mark.parametrize(("method", "name"), EXISTING)


@each
def test_the_parts_of_a_method_fit_each_other(method, name, packages_of):
    packages_of("projected" if name in PROJECTED or method in ON_FEATURES else method)
    recipe = apply_method(recipe_of(name), method)
    model = ModelConfig(recipe.vae, recipe.generator)
    assert ModelConfig.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    with torch.device("meta"):
        vae, generator, discriminator = recipe.build("vae"), recipe.build("generator"), recipe.build("discriminator")
        if recipe.vae_stage:
            assert set(recipe.vae_stage.optimizers) == set(recipe.vae_stage.objective.build(vae).phases)
        if recipe.gan_stage:
            assert set(recipe.gan_stage.optimizers) == set(
                recipe.gan_stage.objective.build(vae, generator, discriminator).phases
            )
    described = describe(recipe)
    assert json.loads(json.dumps(described)) == described


def test_a_projected_discriminator_sees_features_that_fit_the_data():
    features = {name: apply_method(recipe_of(name), "projected").discriminator.features for name in RECIPES}
    assert features == {name: "dsprites-convnet" if name in SYNTHETIC else "efficientnet-lite1" for name in RECIPES}


def test_sprites_are_known_as_an_object_too():
    recipe = dataclasses.replace(recipe_of("dsprites"), data=open_dataset("color-dsprites"))
    assert apply_method(recipe, "projected").discriminator.features == "dsprites-convnet"


def test_a_projected_generator_of_sprites_starts_from_the_decoder_if_it_can():
    inits = {name: apply_method(recipe_of(name), "projected").generator_init for name in SYNTHETIC}
    assert inits == {
        "dsprites": "decoder",
        "color-dsprites": "decoder",
        "noisy-dsprites": "he",  # the recipe's own choice
        "scream-dsprites": "he",
    }
    with_s = override(recipe_of("dsprites"), {"generator.s_dim": 4})
    assert apply_method(with_s, "projected").generator_init == "decoder"
    own = dataclasses.make_dataclass("OwnVAEConfig", [], bases=(VAEConfig,), frozen=True)(c_dim=10)
    assert apply_method(dataclasses.replace(with_s, vae=own), "projected").generator_init == "torch"


def test_a_reconstructing_generator_has_an_s_and_the_likelihood_of_stage_1():
    for name in RECIPES:
        parent, recipe = recipe_of(name), apply_method(recipe_of(name), "reconstructing")
        assert recipe.generator.s_dim == (parent.generator.s_dim or 8)
        objective = recipe.gan_stage.objective
        assert objective.likelihood == parent.vae_stage.objective.likelihood
        assert 0 < objective.reconstruction_steps <= recipe.gan_stage.steps / 2 and objective.reconstruction_weight > 0
        projected = apply_method(parent, "projected")
        assert recipe.discriminator == projected.discriminator and recipe.generator_init == projected.generator_init


@each
def test_a_method_is_found_out_from_its_settings(method, name):
    parent = recipe_of(name)
    assert method_of(apply_method(parent, method), parent) == (method, {})
    changes = {"seed": 3, "bank_size": 7}
    assert method_of(override(apply_method(parent, method), changes), parent) == (method, changes)


@each
def test_a_method_keeps_what_is_not_its_own(method, name):
    parent, recipe = recipe_of(name), apply_method(recipe_of(name), method)
    kept = ["name", "data", "seed", "bank_size"]
    of_the_paper = method not in (*TWO_STAGES, "growing-vae")
    if of_the_paper and name == "scream-dsprites":
        assert recipe.vae == VAEConfig(image_channels=3)  # with one encoder stack
    elif method != "infogan" or name in SYNTHETIC:  # on natural images, its encoder is on D's trunk
        kept.append("vae")
    assert [getattr(recipe, each) for each in kept] == [getattr(parent, each) for each in kept]
    for stage in recipe.stages:
        ours, theirs = recipe.stages[stage], parent.stages[stage]
        if method in ON_FEATURES and stage == "gan":
            smaller = method == "projected" and name in SYNTHETIC
            changes = {"ema_decay": 0.995} | ({"batch_size": 32} if smaller else {})
            theirs = dataclasses.replace(theirs, **changes)
        assert dataclasses.replace(ours, objective=theirs.objective, optimizers=theirs.optimizers) == theirs


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for name in sorted(RECIPES) for method in METHODS if not exists(method, name)]
)
def test_a_method_that_the_networks_do_not_allow_is_refused(method, name):
    with pytest.raises(InvalidInputError, match=name):
        apply_method(recipe_of(name), method)


@pytest.mark.parametrize("method", METHODS)
def test_which_stages_a_method_has(method):
    joint = ("end-to-end", "vae-gan", "gan", "infogan")
    expected = ["vae", "gan"] if method in TWO_STAGES else ["gan"] if method in joint else ["vae"]
    assert [*apply_method(recipe_of("dsprites"), method).stages] == expected


def test_methods_whose_generator_is_the_decoder_have_its_shape():
    for name in (*SYNTHETIC, *SMALL_PICTURES):
        for method in DECODERS:
            recipe = apply_method(recipe_of(name), method)
            assert recipe.generator == ConvGeneratorConfig(recipe.vae.c_dim, 0, recipe.vae.image_channels)
            assert (recipe.discriminator is None) == (method != "vae-gan")


def test_betas_are_the_paper_s():
    betas = {
        name: apply_method(recipe_of(name), "beta-vae").vae_stage.objective.beta
        for name in (*SYNTHETIC, *SMALL_PICTURES)
    }
    assert betas == dict.fromkeys(SYNTHETIC, 8.0) | {
        "celeba-64": 6.4,
        "celeba-64-w16": 6.4,
        "chairs-64": 10.0,
        "cars-64": 5.0,
    }
    for name, beta in betas.items():
        assert apply_method(recipe_of(name), "vae").vae_stage.objective == dataclasses.replace(
            apply_method(recipe_of(name), "beta-vae").vae_stage.objective, beta=1.0
        )
        assert apply_method(recipe_of(name), "vae-gan").gan_stage.objective.stage_1.beta == beta


def test_likelihoods_are_the_data_set_s():
    for name, likelihood in {"dsprites": "bernoulli", "chairs-64": "squared-error"}.items():
        for method in ("vae", "beta-vae", "capacity-vae", "factor-vae", "beta-tcvae", "growing-vae"):
            assert apply_method(recipe_of(name), method).vae_stage.objective.likelihood == likelihood
        assert apply_method(recipe_of(name), "vae-gan").gan_stage.objective.stage_1.likelihood == likelihood


def test_gan_settings_and_weights_are_the_parent_s():
    for name in ("dsprites", "chairs-64"):
        parent = recipe_of(name).gan_stage.objective
        for method in ("cgan", "end-to-end", "vae-gan", "gan", "infogan"):
            objective = apply_method(recipe_of(name), method).gan_stage.objective
            assert (objective.r1_weight, objective.r1_interval, objective.fresh_fakes) == (
                parent.r1_weight,
                parent.r1_interval,
                parent.fresh_fakes,
            )
            if method in ("end-to-end", "infogan"):
                assert objective.id_weight == parent.id_weight
    assert apply_method(recipe_of("dsprites"), "without-distillation").gan_stage.objective.id_weight == 0.0


def test_joint_methods_train_their_vae_as_the_beta_vae_that_they_are_compared_with():
    for name in ("dsprites", "scream-dsprites", "celeba-64", "chairs-64"):
        recipe = override(recipe_of(name), {"vae_stage.optimizers.vae.lr": 3e-4})
        alone = apply_method(recipe, "beta-vae").vae_stage
        for method in ("end-to-end", "vae-gan"):
            stage = apply_method(recipe, method).gan_stage
            assert stage.objective.stage_1 == alone.objective
            assert stage.optimizers["vae"] == alone.optimizers["vae"] == Adam(3e-4)
            assert "tc_discriminator" not in stage.optimizers


def test_the_capacity_annealed_vae_is_not_the_recipe_s_factor_vae():
    stage = apply_method(recipe_of("chairs-64"), "capacity-vae").vae_stage
    assert stage.objective == CapacityVAEConfig(likelihood="squared-error")
    assert stage.optimizers == {"vae": recipe_of("chairs-64").vae_stage.optimizers["vae"]}


def test_every_phase_has_the_optimizer_that_moves_the_same_network_in_the_parent():
    parent = recipe_of("celeba-64")
    known = {**parent.vae_stage.optimizers, **parent.gan_stage.optimizers}
    for method in (name for name in METHODS if name not in ON_FEATURES):  # another kind of discriminator
        recipe = apply_method(parent, method)
        for stage in recipe.stages:
            optimizers = recipe.stages[stage].optimizers
            expected = known if method != "growing-vae" else {"vae": Adam(1e-3)}
            assert optimizers == {phase: expected.get(phase, optimizer) for phase, optimizer in optimizers.items()}
    assert apply_method(recipe_of("chairs-64"), "factor-vae").vae_stage.optimizers["tc_discriminator"] == Adam(
        1e-4, 0.5, 0.9
    )


def test_what_is_compared_with_a_growing_vae_does_not_have_its_learning_rates():
    parent = recipe_of("dsprites")
    for method in ("beta-vae", "factor-vae", "end-to-end", "vae-gan"):
        (stage,) = apply_method(parent, method).stages.values()
        assert stage.optimizers["vae"] == Adam(5e-4)
        assert stage.optimizers.get("tc_discriminator", Adam(1e-4, 0.5, 0.9)) == Adam(1e-4, 0.5, 0.9)
    assert apply_method(parent, "growing-vae").vae_stage == parent.vae_stage


def test_cgan_puts_the_code_beside_the_recipe_s_discriminator():
    for name in ("dsprites", "celeba-128"):
        recipe = recipe_of(name)
        assert apply_method(recipe, "cgan").discriminator == ProjectionDiscriminatorConfig(
            recipe.discriminator, recipe.vae.c_dim
        )


@pytest.mark.parametrize("name", [*SMALL_PICTURES, *LARGE_PICTURES])
def test_infogan_s_discriminator_is_the_recipe_s_with_a_code_head(name):
    parent, recipe = recipe_of(name), apply_method(recipe_of(name), "infogan")
    assert (recipe.vae.c_dim, recipe.generator.s_dim, recipe.vae.resolution) == (20, 256, parent.generator.resolution)

    def count(config):
        with torch.device("meta"):
            return sum(p.numel() for p in config.build().parameters())

    code_head = 2 * 20 * (recipe.vae.features + 1)
    assert count(recipe.vae) + count(recipe.discriminator) == count(parent.discriminator) + code_head


def test_the_noise_of_the_gan_on_natural_images_is_as_wide_as_s():
    for name in (*SMALL_PICTURES, *LARGE_PICTURES, "celebahq-1024"):
        generator = apply_method(recipe_of(name), "gan").generator
        assert generator.s_dim + generator.c_dim == 256
    assert apply_method(recipe_of("dsprites"), "gan").generator == recipe_of("dsprites").generator


def test_the_gan_at_1024_keeps_the_bottleneck():
    parent, recipe = recipe_of("celebahq-1024"), apply_method(recipe_of("celebahq-1024"), "gan")
    assert recipe.discriminator == parent.discriminator
    assert isinstance(recipe.gan_stage.objective, BottleneckGANConfig)
    assert not hasattr(recipe.gan_stage.objective, "id_weight")
    for setting in ("r1_weight", "bottleneck_capacity", "bottleneck_beta", "bottleneck_step"):
        assert getattr(recipe.gan_stage.objective, setting) == getattr(parent.gan_stage.objective, setting)


def test_an_unknown_method_is_refused_with_the_known_names():
    with pytest.raises(
        InvalidInputError,
        match="no method is called 'stylegan'; .*known: id-gan, without-distillation, cgan, .*beta-tcvae",
    ):
        apply_method(recipe_of("dsprites"), "stylegan")


def test_a_method_derives_from_two_stages():
    alone = apply_method(recipe_of("dsprites"), "vae")
    assert apply_method(alone, "id-gan") is alone
    with pytest.raises(InvalidInputError, match="dsprites has only the stage 'vae'"):
        apply_method(alone, "gan")


def test_what_is_no_method_is_not_taken_for_one():
    parent = recipe_of("dsprites")
    for stage, objective in (("vae_stage", BetaVAEConfig()), ("gan_stage", ConditionalGANConfig())):
        odd = dataclasses.replace(parent, **{stage: dataclasses.replace(getattr(parent, stage), objective=objective)})
        assert method_of(odd, parent) is None


def test_among_methods_that_are_as_near_it_is_the_first():
    changes = {"gan_stage.objective.id_weight": 0.5}
    assert method_of(override(recipe_of("dsprites"), changes), recipe_of("dsprites")) == ("id-gan", changes)


def test_a_recipe_has_a_stage_and_networks_that_are_described():
    parent = recipe_of("dsprites")
    with pytest.raises(InvalidInputError, match="both are None"):
        dataclasses.replace(parent, vae_stage=None, gan_stage=None)
    with pytest.raises(InvalidInputError, match=r"vae must be a dataclass with build\(\), got Linear"):
        dataclasses.replace(parent, vae=torch.nn.Linear(1, 1))
    with pytest.raises(
        InvalidInputError,
        match="generator must have the attributes c_dim, s_dim, image_channels, resolution; "
        "ConvDiscriminatorConfig has no c_dim, s_dim",
    ):
        dataclasses.replace(parent, generator=parent.discriminator)
