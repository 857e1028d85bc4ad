"""A growing VAE trains, changes between two steps, and survives being killed there."""

import multiprocessing
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from idgan import load
from idgan.networks import TwoStackVAEConfig
from idgan.objectives import GrowingVAEConfig, Phase
from idgan.recipes import apply_method, override, recipe_of
from idgan.training import train
from idgan.training.checkpoint import load_state, step_of
from idgan.zoo import verify

PHASES = (
    Phase(steps=3, dims=2, align=True, warmup_steps=2),
    Phase(steps=3, dims=3, unlock="cold", tc_weight_end=5.0, tc_weight_steps=2),
    Phase(steps=3, dims=6, unlock="hot", tc_weight_end=5.0),
    Phase(steps=4, dims=6, lr_end=0.5, fresh=False, warmup_steps=0, settle_every=2),
)
IN_TWO_PARTS = tuple(replace(phase, frozen_dims=3 * (phase.dims == 6)) for phase in PHASES)
SETTINGS = {"vae_stage.steps": 13, "vae_stage.batch_size": 4, "vae_stage.select_every": 0, "bank_size": 16}
OPTIONS = {"stage": "vae", "device": "cpu", "threads": 1, "progress": False}


def growing(phases=PHASES):
    recipe = recipe_of("dsprites")
    stage = replace(
        apply_method(recipe, "growing-vae").vae_stage,
        objective=GrowingVAEConfig(phases=phases, images=200, critic_width=32),
    )
    vae = TwoStackVAEConfig() if phases is IN_TWO_PARTS else recipe.vae
    return override(replace(recipe, vae_stage=stage, vae=vae), SETTINGS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of a stage 1 that was never interrupted."""
    out = tmp_path_factory.mktemp("growing") / "whole"
    train(growing(), out, **OPTIONS)
    return out


def same(a, b, log=True):
    ours, theirs = (load_file(out / "vae" / "state.safetensors") for out in (a, b))
    assert ours.keys() == theirs.keys()
    assert not [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not log or (a / "vae" / "log.jsonl").read_text() == (b / "vae" / "log.jsonl").read_text()


@pytest.mark.slow
def test_killed_around_every_border_it_ends_with_the_same_bits(whole, tmp_path):
    out = tmp_path / "run"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idgan.training"])
    kills = 0
    for step in (2, 3, 5, 6, 8, 9, 11):
        process = processes.Process(target=train, args=(growing(), out), kwargs=OPTIONS | {"save_seconds": 0.0})
        process.start()
        while process.is_alive() and step_of(out / "vae" / "state.safetensors") < step:
            time.sleep(0.005)
        process.kill()
        process.join()
        kills += process.exitcode == -9
    assert kills >= 4
    train(growing(), out, **OPTIONS)
    same(out, whole)


@pytest.mark.parametrize("steps", [3, 6, 9, 11])
def test_stopped_right_at_a_border_it_continues_the_same(whole, tmp_path, steps):
    out = tmp_path / "run"
    train(override(growing(), {"vae_stage.steps": steps}), out, **OPTIONS)
    train(growing(), out, **OPTIONS)
    same(out, whole, log=False)  # the end of the shorter run was recorded too


def test_a_code_in_two_parts_continues_the_same_and_becomes_a_model(tmp_path, tiny):
    for name, stops in {"whole": [13], "parts": [5, 6, 7, 9, 13]}.items():
        for steps in stops:
            train(override(growing(IN_TWO_PARTS), {"vae_stage.steps": steps}), tmp_path / name, **OPTIONS)
    same(tmp_path / "parts", tmp_path / "whole", log=False)
    options = tiny() | {"settings": tiny()["settings"] | SETTINGS}
    sampler = load(train(growing(IN_TWO_PARTS), tmp_path / "whole", **options))
    assert type(sampler.vae.config) is TwoStackVAEConfig
    assert verify(str(tmp_path / "whole"))["ok"]


def test_changes_between_two_steps_are_logged(whole, log_of):
    logged = [record for record in log_of(whole / "vae") if "angle" in record]
    assert [record["step"] for record in logged] == [3, 11, 13]
    assert all(abs(record["angle"]) <= 0.79 and len(record["kl_by_dimension"]) == 10 for record in logged)


def test_learning_rates_are_the_schedules(whole):
    state = load_state(whole / "vae" / "state.safetensors")
    assert state["optimizers"]["vae"]["param_groups"][0]["lr"] == pytest.approx(1e-3 * (1 - 0.5 * 3 / 4))
    assert state["optimizers"]["tc_discriminator"]["param_groups"][0]["lr"] == 3e-4


def test_the_method_derives_from_any_recipe(tmp_path, bands_recipe, tiny):
    for name in ("color-dsprites", "celeba-64-w16"):
        recipe = apply_method(recipe_of(name), "growing-vae")
        assert sum(phase.steps for phase in recipe.vae_stage.objective.phases) == max(recipe.vae_stage.steps, 4_250)
    own = override(recipe_of("dsprites"), {"vae_stage.objective.phases.0.steps": 5})
    assert apply_method(own, "growing-vae").vae_stage == own.vae_stage
    settings = {name: value for name, value in tiny()["settings"].items() if not name.startswith("gan_stage")}
    assert train(bands_recipe, tmp_path / "run", **tiny() | {"settings": settings, "method": "growing-vae"}).exists()


@pytest.mark.parametrize("s_dim", [0, 3])
def test_stage_2_can_begin_with_the_decoder(tmp_path, tiny, s_dim):
    """Its images are the decoder's as long as nothing moves it."""
    settings = {
        "generator_init": "decoder",
        "generator__s_dim": s_dim,
        "gan_stage__optimizers__generator__lr": 1e-30,
        "gan_stage__steps": 1,
        "vae_stage__steps": 2,
    }
    sampler = load(train("dsprites", tmp_path / "run", **tiny(**settings)))
    c = torch.randn(4, 10)
    torch.testing.assert_close(sampler.sample(c, torch.zeros(s_dim)), sampler.decode(c), rtol=0, atol=1e-5)
