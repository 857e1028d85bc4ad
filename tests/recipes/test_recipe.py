import dataclasses
import json

import pytest
import torch
from torch import nn

from idgan.data import DATASETS
from idgan.errors import InvalidInputError, UnknownModelError
from idgan.networks import ModelConfig
from idgan.objectives import BetaVAEConfig
from idgan.recipes import RECIPES, Adam, RMSprop, Stage, defaults, describe, override, recipe_of

every_recipe = pytest.mark.parametrize("name", sorted(RECIPES))


def settable(recipe):
    """Dotted path -> value of every setting of a recipe."""
    return {path: value for path, value in describe(recipe).items() if path.split(".")[-1] != "type"}


# ------------------------------------------------------------------ the recipes


@every_recipe
def test_a_recipe_is_called_what_it_is_registered_as(name):
    assert recipe_of(name).name == name
    assert recipe_of(name) == RECIPES[name]()


def test_an_unknown_recipe_is_refused_with_the_known_names():
    with pytest.raises(
        UnknownModelError, match=r"no recipe is called 'dsprite'; did you mean 'dsprites'\? known: .*\bcars-64\b"
    ):
        recipe_of("dsprite")


@every_recipe
def test_the_parts_of_a_recipe_fit_each_other(name):
    recipe = recipe_of(name)
    model = ModelConfig(recipe.vae, recipe.generator)
    assert ModelConfig.from_dict(json.loads(json.dumps(model.to_dict()))) == model
    assert recipe.discriminator.image_channels == model.image_channels
    assert recipe.discriminator.resolution == model.resolution
    with torch.device("meta"):
        vae, generator, discriminator = recipe.vae.build(), recipe.generator.build(), recipe.discriminator.build()
        first, second = (
            recipe.vae_stage.objective.build(vae),
            recipe.gan_stage.objective.build(vae, generator, discriminator),
        )
    assert set(recipe.vae_stage.optimizers) == set(first.phases)
    assert set(recipe.gan_stage.optimizers) == set(second.phases)


@every_recipe
def test_a_recipe_trains_on_a_known_data_set(name):
    assert recipe_of(name).data in DATASETS


@every_recipe
def test_a_recipe_describes_itself_in_json(name):
    described = describe(recipe_of(name))
    assert json.loads(json.dumps(described)) == described
    assert described["name"] == name
    assert described["vae_stage.objective.type"] == type(recipe_of(name).vae_stage.objective).__name__


def test_describe_gives_one_entry_a_leaf():
    stage = Stage(objective=BetaVAEConfig(beta=2.0), optimizers={"vae": Adam(0.5)}, steps=3)
    described = describe(stage, "here")
    assert described["here.type"] == "Stage"
    assert described["here.objective.beta"] == 2.0
    assert described["here.optimizers.vae.lr"] == 0.5
    assert described["here.optimizers.vae.type"] == "Adam"
    assert (
        len(described) == 11 + 1 + (2 + 1) + (3 + 1) - 2
    )  # fields and types of Stage, BetaVAE, Adam; two fields are not leaves


def test_defaults_are_what_a_part_is_without_its_settings():
    stage = Stage(BetaVAEConfig(beta=2.0), {"vae": Adam(0.5)}, steps=3, accumulation_steps=2, flip=True)
    plain = describe(Stage(BetaVAEConfig(), {"vae": Adam()}, steps=3), "here")
    assert defaults(stage, "here.") == {
        path: value for path, value in plain.items() if path.split(".")[-1] not in ("type", "steps")
    }


# ------------------------------------------------------------------ override


@every_recipe
def test_every_setting_can_be_set_to_its_own_value_as_text(name):
    recipe = recipe_of(name)
    for path, value in settable(recipe).items():
        assert override(recipe, {path: str(value)}) == recipe, path
        assert override(recipe, {path: value}) == recipe, path


@every_recipe
def test_every_number_can_be_changed_and_nothing_else_changes(name):
    recipe = recipe_of(name)
    numbers = {
        path: value
        for path, value in settable(recipe).items()
        if type(value) in (int, float) and not path.endswith(("resolution", "discriminator.image_channels"))
    }
    assert len(numbers) > 20
    for path, value in numbers.items():
        other = value + 1 if type(value) is int else (value + 0.3) / 2  # from 0 to 1 if the value is
        changed = describe(override(recipe, {path: str(other)}))
        assert changed == describe(recipe) | {path: other} != describe(recipe)


def test_settings_add_up():
    recipe = override(
        recipe_of("dsprites"),
        {"seed": "3", "gan_stage.steps": 7, "gan_stage.batch_size": 8, "vae_stage.precision": "fp32"},
    )
    assert (recipe.seed, recipe.gan_stage.steps, recipe.gan_stage.batch_size, recipe.vae_stage.precision) == (
        3,
        7,
        8,
        "fp32",
    )
    assert override(recipe, {}) == recipe


@pytest.mark.parametrize("order", [1, -1])
def test_settings_that_only_fit_together_can_be_given_in_any_order(order):
    recipe = override(recipe_of("dsprites"), {"generator_init": "decoder"})
    settings = [("generator.image_channels", "3"), ("generator_init", "he")][::order]
    changed = override(recipe, dict(settings))
    assert (changed.generator.image_channels, changed.generator_init) == (3, "he")
    with pytest.raises(InvalidInputError, match="'decoder' needs a generator of the shape of the decoder"):
        override(recipe, dict(settings[:1] if order == 1 else settings[1:]))


def test_settings_of_several_phases_add_up():
    phases = "vae_stage.objective.phases"
    changed = override(
        recipe_of("dsprites"), {f"{phases}.0.steps": 701, f"{phases}.5.steps": 3, f"{phases}.0.beta_end": 7}
    )
    first, sixth = changed.vae_stage.objective.phases[0], changed.vae_stage.objective.phases[5]
    assert (first.steps, first.beta_end, sixth.steps) == (701, 7.0, 3)


def test_two_names_of_one_setting_are_refused():
    with pytest.raises(InvalidInputError, match="init_generator_from and generator_from are two names of one setting"):
        override(recipe_of("dsprites"), {"init_generator_from": "a", "generator_from": "b"})


def test_the_original_is_left_alone():
    recipe = recipe_of("dsprites")
    before, optimizers = describe(recipe), dict(recipe.vae_stage.optimizers)
    override(recipe, {"vae_stage.optimizers.vae.lr": 1.0, "gan_stage.objective.id_weight": 1.0, "seed": 9})
    assert describe(recipe) == before
    assert recipe.vae_stage.optimizers == optimizers
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1


def test_an_integer_will_do_for_a_float():
    for value in (2, "2", "2.0", "2e0"):
        weight = override(recipe_of("dsprites"), {"gan_stage.objective.id_weight": value}).gan_stage.objective.id_weight
        assert weight == 2.0
        assert type(weight) is float


def test_booleans_are_read_as_in_python():
    assert override(recipe_of("dsprites"), {"gan_stage.flip": "True"}).gan_stage.flip is True


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("sed", r"'sed' is not one of name, data, vae_stage, .*, seed, bank_size"),
        ("", r"'' is not one of name, data"),
        ("gan_stage.objective.idweight", r"'idweight' is not one of r1_weight, .*; did you mean 'id_weight'\?$"),
        ("gan_stage.optimizers.vae.lr", r"'vae' is not one of discriminator, generator"),
        ("gan_stage.optimizers.generator.alpha", r"'alpha' is not one of lr, beta1, beta2[^;]*$"),
        ("gan_stage.objective.type", r"'type' is not one of r1_weight"),
        ("seed.deeper", r"'seed' is a single value"),
        ("name.upper", r"'name' is a single value"),
        ("vae_stage.objective.phases.99.steps", r"'99' is not one of 0, 1, 2, 3"),
        ("vae.build", r"'build' is not one of c_dim, image_channels"),
        ("vae.__class__", r"'__class__' is not one of c_dim"),
    ],
)
def test_a_wrong_path_is_refused_with_what_is_accepted_there(path, message):
    with pytest.raises(InvalidInputError, match=rf"no setting '{path}': {message}"):
        override(recipe_of("dsprites"), {path: "1"})


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("seed", "1.5", "int"),
        ("seed", 1.0, "int"),
        ("seed", "one", "int"),
        ("seed", "", "int"),
        ("seed", "True", "int"),
        ("seed", None, "int"),
        ("seed", "{[]: 1}", "int"),
        ("vae_stage.steps", "1e4", "int"),
        ("gan_stage.objective.id_weight", "small", "float"),
        ("gan_stage.objective.id_weight", True, "float"),
        ("gan_stage.objective.id_weight", "[1.0]", "float"),
        ("gan_stage.flip", "1", "bool"),
        ("gan_stage.flip", "yes", "bool"),
        ("data", 3, "str"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(path, value, kind):
    with pytest.raises(InvalidInputError, match=f"{path} must be of type {kind}, like "):
        override(recipe_of("dsprites"), {path: value})


@pytest.mark.parametrize(
    ("path", "members"),
    [
        ("vae", "vae.c_dim, vae.image_channels"),
        ("gan_stage.optimizers", "gan_stage.optimizers.discriminator, gan_stage.optimizers.generator"),
        ("gan_stage.optimizers.generator", "gan_stage.optimizers.generator.lr, "),
        ("vae_stage.objective.phases", "vae_stage.objective.phases.0, vae_stage.objective.phases.1, "),
    ],
)
def test_a_group_cannot_be_set_and_the_message_lists_it(path, members):
    with pytest.raises(InvalidInputError, match=f"{path} is a group of settings; name one of {members}"):
        override(recipe_of("dsprites"), {path: "20"})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("gan_stage.precision", "fp16", "precision must be one of fp32, tf32, bf16, got 'fp16'"),
        ("gan_stage.batch_size", 0, "batch_size must be an integer of 1 or more, got 0"),
        ("gan_stage.steps", -1, "steps must be an integer of 1 or more, got -1"),
        ("vae_stage.steps", 0, "steps must be an integer of 1 or more, got 0"),
        ("vae_stage.select_every", -5, "select_every must be an integer of 0 or more, got -5"),
        ("bank_size", 0, "bank_size must be an integer of 1 or more, got 0"),
        ("vae_stage.objective.likelihood", "gaussian", "likelihood must be one of"),
        ("gan_stage.objective.r1_interval", 0, "r1_interval must be an integer of 1 or more, got 0"),
        ("gan_stage.ema_decay", 1.0, "ema_decay must be 0 or more and less than 1, got 1.0"),
        ("gan_stage.ema_decay", "-0.1", "ema_decay must be 0 or more and less than 1, got -0.1"),
        ("vae_stage.optimizers.vae.lr", "0", "lr must be more than 0, got 0.0"),
        ("vae_stage.optimizers.vae.lr", "1e999", "lr must be more than 0 and less than inf, got inf"),
        ("vae_stage.optimizers.vae.beta1", 1.0, "beta1 must be 0 or more and less than 1, got 1.0"),
        ("gan_stage.optimizers.generator.beta2", -0.5, "beta2 must be 0 or more and less than 1, got -0.5"),
        ("vae_stage.objective.images", 1, "images must be an integer of 2 or more, got 1"),
        ("vae_stage.objective.phases.2.unlock", "warm", "unlock must be one of none, cold, full, hot, got 'warm'"),
        ("vae_stage.objective.phases.0.dims", 0, "dims must be an integer of 1 or more, got 0"),
    ],
)
def test_a_value_that_training_could_not_use_is_refused_at_once(path, value, message):
    with pytest.raises(InvalidInputError, match=message):
        override(recipe_of("dsprites"), {path: value})


# ------------------------------------------------------------------ optimizers


@pytest.mark.parametrize(
    ("optimizer", "setting", "accepted"),
    [
        (RMSprop, {"lr": -1e-4}, "lr must be more than 0"),
        (RMSprop, {"alpha": 1.0}, "alpha must be 0 or more and less than 1"),
    ],
)
def test_an_optimizer_that_could_not_step_is_refused(optimizer, setting, accepted):
    with pytest.raises(InvalidInputError, match=accepted):
        optimizer(**setting)


def one_step(optimizer, gradient):
    """How far the first step moves a parameter."""
    parameter = nn.Parameter(torch.zeros(len(gradient)))
    stepper = optimizer.build([parameter])
    parameter.grad = torch.tensor(gradient)
    stepper.step()
    return parameter.detach()


def test_adams_first_step_is_the_learning_rate_against_the_gradients_sign():
    torch.testing.assert_close(one_step(Adam(0.1), [3.0, -0.5]), torch.tensor([-0.1, 0.1]))


def test_rmsprops_first_step_is_as_large_as_its_smoothing_says():
    torch.testing.assert_close(
        one_step(RMSprop(0.1, alpha=0.75), [3.0, -0.5]), torch.tensor([-0.2, 0.2])
    )  # 0.1 / sqrt(1 - 0.75)


def test_adams_decay_rates_are_passed_on():
    """After gradients 1 and then 0: mean beta1 (1 - beta1), square beta2 (1 - beta2), each over its bias 1 - beta^2."""
    beta1, beta2, parameter = 0.5, 0.75, nn.Parameter(torch.zeros(1))
    stepper = Adam(0.1, beta1, beta2).build([parameter])
    parameter.grad = torch.ones(1)
    stepper.step()
    before = parameter.item()
    parameter.grad = torch.zeros(1)
    stepper.step()
    mean, square = beta1 * (1 - beta1) / (1 - beta1**2), beta2 * (1 - beta2) / (1 - beta2**2)
    assert parameter.item() - before == pytest.approx(-0.1 * mean / square**0.5, rel=1e-4)


def test_generator_init_touches_the_generator_alone():
    def built(init):
        torch.manual_seed(0)
        recipe = override(recipe_of("dsprites"), {"generator_init": init})
        return {part: recipe.build(part).state_dict() for part in ("vae", "generator")}

    torchs, he = built("torch"), built("he")
    assert all(torch.equal(value, he["vae"][name]) for name, value in torchs["vae"].items())
    assert not any(torch.equal(value, he["generator"][name]) for name, value in torchs["generator"].items())
    assert he["generator"]["layers.0.weight"].std() > 2 * torchs["generator"]["layers.0.weight"].std()


def test_an_unknown_generator_init_is_refused():
    with pytest.raises(InvalidInputError, match="generator_init must be one of torch, he, decoder, got 'xavier'"):
        override(recipe_of("dsprites"), {"generator_init": "xavier"})


def test_only_a_generator_of_its_shape_can_start_as_the_decoder():
    for s_dim in (0, 2):
        recipe = override(recipe_of("dsprites"), {"generator_init": "decoder", "generator.s_dim": s_dim})
        assert (recipe.generator_init, recipe.generator.s_dim) == ("decoder", s_dim)
    for name, settings in ("dsprites", {"vae.c_dim": 5, "generator.c_dim": 6}), ("celeba-64", {}):
        with pytest.raises(InvalidInputError, match="needs a generator of the shape of the decoder; recipe"):
            override(recipe_of(name), settings | {"generator_init": "decoder"})


def test_one_phase_of_a_schedule_can_be_set():
    """A tuple of dataclasses is described and changed by number."""
    parent = recipe_of("dsprites")
    recipe = override(parent, {"vae_stage.objective.phases.1.steps": "7"})
    before, after = parent.vae_stage.objective.phases, recipe.vae_stage.objective.phases
    assert after == (before[0], dataclasses.replace(before[1], steps=7), *before[2:])
    path = "vae_stage.objective.phases.1"
    assert (describe(recipe)[f"{path}.type"], describe(recipe)[f"{path}.steps"]) == ("Phase", 7)


def test_a_recipe_of_ones_own_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "failing.py").write_text("def recipe(): return 1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInputError, match="'failing:recipe' failed: ZeroDivisionError"):
        recipe_of("failing:recipe")
