"""Runs with a projected discriminator: resuming to the bit, the identity of the frozen network, and warm starts."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file

import idgan
from idgan.errors import InvalidInputError, RunMismatchError
from idgan.networks import FEATURE_PYRAMIDS
from idgan.recipes import METHODS, apply_method, override, recipe_of
from idgan.training import estimate, train
from idgan.training.checkpoint import load_state
from idgan.zoo import verify
from idgan.zoo.weights import part_of

STATE = "gan/state.safetensors"
SMALL = {
    "discriminator__features": "tiny",
    "discriminator__base_width": 4,
    "discriminator__max_width": 6,
    "discriminator__head_width": 8,
}


@pytest.fixture
def run(tiny, tiny_pyramid, finished, tmp_path):
    """`run(name, steps, **settings)`: the directory of stage 2 with the method projected. G moves from step 3 on."""

    def make(name, steps=5, **more):
        options = tiny(**SMALL | {"gan_stage__objective__head_start": 2, "gan_stage__steps": steps} | more)
        train("dsprites", tmp_path / name, method="projected", vae=finished, save_seconds=0.0, **options)
        return tmp_path / name

    return make


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_in_parts_ends_with_the_bits_of_one_in_one_go(run, precision):
    for steps in (1, 3, 7):
        parts = run("parts", steps, gan_stage__precision=precision)
    whole = run("whole", 7, gan_stage__precision=precision)
    for name in (STATE, "model.safetensors"):
        ours, theirs = load_file(parts / name), load_file(whole / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_with_a_reconstruction_in_parts_ends_with_the_bits_of_one_in_one_go(run, precision):
    """Across the borders of its three parts: the reconstruction alone, D alone, and all."""
    reconstructs = {
        "generator__s_dim": 3,
        "gan_stage__objective__reconstruction_weight": 0.1,
        "gan_stage__objective__reconstruction_steps": 2,
        "gan_stage__objective__s_shift": 5,
        "gan_stage__objective__likelihood": "bernoulli",
        "gan_stage__precision": precision,
    }
    for steps in (1, 3, 5, 7):
        parts = run("parts", steps, **reconstructs)
    whole = run("whole", 7, **reconstructs)
    for name in (STATE, "model.safetensors"):
        ours, theirs = load_file(parts / name), load_file(whole / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
    sampler, state = idgan.load(parts, device="cpu"), load_state(parts / STATE)["objective"]
    learned = part_of(state, "nuisance_encoder.")
    assert learned and all(torch.equal(learned[name], ours[f"nuisance_encoder.{name}"]) for name in learned)
    assert torch.equal(sampler.nuisance_encoder[0].weight, learned["0.weight"])
    assert verify(str(parts))["ok"]


def test_a_stage_that_ends_before_a_phase_begins_says_so(run):
    reconstructs = {"generator__s_dim": 3, "gan_stage__objective__reconstruction_weight": 0.1}
    with pytest.warns(UserWarning, match="has 2 steps and ends before the phase 'discriminator' begins"):
        run("run", 2, gan_stage__objective__reconstruction_steps=4, **reconstructs)


def test_g_does_not_move_in_d_s_head_start(run):
    first, second, third = (load_state(run("run", steps) / STATE)["objective"] for steps in (1, 2, 3))
    same = lambda a, b, part: all(torch.equal(a[name], b[name]) for name in a if name.startswith(part))
    assert same(first, second, "generator.") and not same(second, third, "generator.")
    assert not same(first, second, "discriminator.heads.") and same(first, third, "discriminator.mixing.")


def test_no_state_holds_the_frozen_network_and_other_weights_are_refused(run, tiny_pyramid, monkeypatch):
    out = run("run", 2)
    assert not [name for name in load_file(out / STATE) if "pyramid" in name]
    assert not [name for name in load_file(out / "model.safetensors") if "discriminator" in name]
    identity = load_state(out / STATE)["identity"]
    assert (identity["features_sha256"], identity["features_from"]) == (64 * "0", "tiny-pyramid")
    assert idgan.load(out, device="cpu").record.identity == {
        "features_sha256": 64 * "0",
        "features_from": "tiny-pyramid",
    }
    monkeypatch.setitem(FEATURE_PYRAMIDS._entries, "tiny", partial(tiny_pyramid, seed=1))
    with pytest.raises(RunMismatchError, match=f"features_sha256: '{64 * '0'}' stored, '{63 * '0'}1' now"):
        run("run", 3)


def test_what_it_would_cost_is_known(packages_of):
    packages_of("projected")
    recipe = apply_method(recipe_of("celeba-64-w16"), "projected")
    assert estimate.cost_of(recipe, "gan").flops > 16 * 100e6


def test_a_step_is_timed_after_the_head_start(tiny_pyramid, monkeypatch):
    settings = {"gan_stage.objective.head_start": 9, "gan_stage.batch_size": 2, "discriminator.features": "tiny"}
    recipe = override(apply_method(recipe_of("dsprites"), "projected"), settings)
    steps = []
    monkeypatch.setattr(estimate, "_seconds", lambda trainer, step: steps.append(step) or 1.0)
    assert estimate.seconds_per_step(recipe, "gan", estimate.Noise(recipe), "cpu") == 1.0
    assert steps == [16, 17]  # the first step with R1 at which G is trained, and one without R1


# ------------------------------------------------------------------ a generator to start from


def test_stage_2_starts_from_the_generator_of_a_model_and_records_it(run, finished):
    out = run("run", 1, init_generator_from=str(finished))
    there, here = part_of(load_file(finished / "model.safetensors"), "generator."), load_state(out / STATE)
    made, averaged = part_of(here["objective"], "generator."), part_of(here["ema"], "module.")
    assert all(torch.equal(there[name], made[name]) and torch.equal(there[name], averaged[name]) for name in there)
    info = idgan.load(out, device="cpu").info["training"]
    assert len(info["settings"]["init_generator_from_sha256"]) == 64
    assert info["settings"]["init_generator_from"] == finished.name
    assert f"--set init_generator_from={finished.name}" in info["command"]
    assert (
        json.loads((out / "recipe.json").read_text())["init_generator_from_sha256"]
        == info["settings"]["init_generator_from_sha256"]
    )


def test_a_run_is_held_to_the_generator_it_started_from(run, finished, tmp_path):
    path = tmp_path / "moved.safetensors"
    path.write_bytes((finished / "model.safetensors").read_bytes())
    run("run", 1, init_generator_from=str(finished))
    with pytest.raises(RunMismatchError, match="init_generator_from: "):
        run("run", 2, init_generator_from=str(path))


def test_a_run_that_has_begun_goes_on_after_another_model_took_the_name_of_its_start(run, finished, tmp_path):
    path, other = tmp_path / "start.safetensors", run("other", 4)
    path.write_bytes((finished / "model.safetensors").read_bytes())
    whole = run("whole", 2, init_generator_from=str(path))
    begun = run("begun", 1, init_generator_from=str(path))
    path.write_bytes((other / "model.safetensors").read_bytes())
    run("begun", 2, init_generator_from=str(path))
    for name in (STATE, "model.safetensors"):
        ours, theirs = load_file(begun / name), load_file(whole / name)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours), name
    assert json.loads((begun / "recipe.json").read_text()) == json.loads((whole / "recipe.json").read_text())


def test_a_run_with_the_old_name_of_the_setting_continues(run, finished):
    out = run("run", 1, init_generator_from=str(finished))
    path = out / "recipe.json"
    path.write_text(path.read_text().replace("init_generator_from", "generator_from"))
    run("run", 2, generator_from=str(finished))
    assert load_state(out / STATE)["step"] == 2
    assert json.loads(path.read_text())["init_generator_from"] == str(finished)


def test_a_generator_that_does_not_fit_is_refused_before_anything_is_written(run, tmp_path):
    with pytest.raises(InvalidInputError, match="the generator of celeba-64-w16 does not fit the recipe's"):
        run("run", 1, init_generator_from="celeba-64-w16")
    assert not (tmp_path / "run").exists()


def test_only_methods_with_distillation_start_from_that_generator():
    """Without distillation, it would know the code from the start."""
    recipe = replace(recipe_of("dsprites"), init_generator_from="somewhere")
    kept = {name for name in METHODS if apply_method(recipe, name).init_generator_from}
    assert kept == {"id-gan", "projected", "reconstructing"}
    assert apply_method(recipe_of("celeba-64-w32"), "without-distillation").init_generator_from == ""


@pytest.mark.parametrize("method", ["without-distillation", "cgan"])
def test_a_generator_without_distillation_does_not_start_as_the_decoder(method):
    inits = {"decoder": "torch", "he": "he", "torch": "torch"}
    for init, expected in inits.items():
        recipe = replace(recipe_of("dsprites"), generator_init=init)
        assert apply_method(recipe, method).generator_init == expected
