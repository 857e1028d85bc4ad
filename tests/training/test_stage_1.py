"""A VAE from elsewhere: stage 2 on it, or stage 1 from it."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import load_file

import idgan
from idgan.errors import (
    CheckpointError,
    InvalidInputError,
    NotTrainedError,
    RunError,
    RunMismatchError,
    UnknownModelError,
)
from idgan.networks import VAEConfig
from idgan.recipes import METHODS, apply_method, recipe_of
from idgan.training import train
from idgan.training.bundle import command_of
from idgan.training.stage_1 import load_pretrained_vae
from idgan.zoo.weights import write_checkpoint


@pytest.fixture
def stage_2_only(tiny):
    """Keyword arguments of `train` for a tiny run of stage 2."""
    return tiny(vae_stage__steps=1_000_000, gan_stage__steps=2)


def encoder_of(path):
    return {name: tensor for name, tensor in load_file(path).items() if name.startswith("vae.")}


def test_the_vae_of_a_run_or_of_its_checkpoint_takes_the_place_of_stage_1(finished, stage_2_only, tmp_path):
    made = [
        train("dsprites", tmp_path / str(i), vae=vae, **stage_2_only)
        for i, vae in enumerate((finished, finished / "model.safetensors"))
    ]
    expected = encoder_of(finished / "model.safetensors")
    for path in made:
        assert not (path.parent / "vae").exists()
        weights = encoder_of(path)
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in weights)
    one, other = (load_file(path) for path in made)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_checkpoint_says_where_its_encoder_is_from_and_what_made_it(finished, stage_2_only, tmp_path):
    there = idgan.load(finished, device="cpu").info["training"]["stages"]["vae"]
    info = idgan.load(train("dsprites", tmp_path / "run", vae=finished, **stage_2_only).parent, device="cpu").info[
        "training"
    ]
    assert info["stages"]["vae"] == there | {"from": finished.name}
    assert info["steps"] == {"vae": 12, "gan": 2}
    assert f"--vae {finished.name}" in info["command"]
    assert len(info["settings"]["vae_sha256"]) == 64
    assert not [name for name in info["settings"] if name.startswith("vae_stage.")]


def test_it_continues_with_the_same_weights_only_wherever_they_are(finished, stage_2_only, tiny, tmp_path):
    out, moved = tmp_path / "run", tmp_path / "moved.safetensors"
    train("dsprites", out, vae=finished, **stage_2_only)
    before = (out / "gan" / "state.safetensors").read_bytes()
    shutil.copy(finished / "model.safetensors", moved)
    train("dsprites", out, vae=moved, **stage_2_only)
    assert (out / "gan" / "state.safetensors").read_bytes() == before

    other = tmp_path / "other"
    train("dsprites", other, stage="vae", **tiny(vae_stage__steps=1))
    with pytest.raises(RunMismatchError, match="vae_sha256: '[0-9a-f]{64}' stored, '[0-9a-f]{64}' now"):
        train("dsprites", out, vae=other, **stage_2_only)
    with pytest.raises(RunMismatchError, match="vae_sha256: '[0-9a-f]{64}' stored, None now"):
        train("dsprites", out, **stage_2_only)
    with pytest.raises(RunMismatchError, match="vae_sha256: None stored"):
        train("dsprites", other, vae=finished, **stage_2_only)


def test_only_the_directory_with_stage_1_is_needed(tmp_path, tiny, stage_2_only):
    train("dsprites", tmp_path / "first", stage="vae", **tiny(vae_stage__steps=1))
    path = train("dsprites", tmp_path / "second", vae=tmp_path / "first", **stage_2_only)
    expected = load_file(tmp_path / "first" / "vae" / "state.safetensors")
    assert all(torch.equal(tensor, expected[f"/objective/{name}"]) for name, tensor in encoder_of(path).items())


def test_vaes_that_do_not_fit_are_refused_before_anything_is_written(finished, tiny, stage_2_only, tmp_path):
    out = tmp_path / "run"
    recipe = dataclasses.replace(recipe_of("color-dsprites"), vae=VAEConfig(c_dim=10, image_channels=3))
    with pytest.raises(InvalidInputError, match="other shapes than the recipe's VAEConfig"):
        train(recipe, out, vae=finished, **stage_2_only)
    with pytest.raises(NotTrainedError, match="celeba-128"):
        train("dsprites", out, vae="celeba-128", **stage_2_only)
    with pytest.raises(InvalidInputError, match="stage 'vae' has nothing left to train"):
        train("dsprites", out, vae=finished, stage="vae", **stage_2_only)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no finished run"):
        train("dsprites", out, vae=tmp_path / "empty", **stage_2_only)
    assert not out.exists()


def test_an_unfinished_stage_1_is_refused(finished, tiny, stage_2_only, tmp_path):
    unfinished = shutil.copytree(finished, tmp_path / "unfinished")
    settings = (unfinished / "recipe.json").read_text()
    (unfinished / "recipe.json").write_text(settings.replace('"vae_stage.steps": 12', '"vae_stage.steps": 13'))
    with pytest.raises(RunError, match="stage 1 in .* is at step 12 of 13; finish it first"):
        train("dsprites", tmp_path / "run", vae=unfinished, **stage_2_only)


def test_the_command_names_the_vae():
    assert (
        command_of(recipe_of("dsprites"), vae="runs/mine") == "idgan train dsprites --out runs/dsprites --vae runs/mine"
    )
    assert command_of(recipe_of("dsprites")) == "idgan train dsprites --out runs/dsprites"


# ------------------------------------------------------------------ init_vae_from


@pytest.fixture
def started_from(tiny, tmp_path):
    """`started_from(vae, name)`: the directory of one step of stage 1 from `vae`, at a rate that moves nothing."""

    def run(vae, name="run", **more):
        settings = {"init_vae_from": str(vae), "vae_stage__steps": 1, "vae_stage__optimizers__vae__lr": 1e-30} | more
        return train("dsprites", tmp_path / name, stage="vae", **tiny(**settings))

    return run


def test_stage_1_starts_from_the_vae_that_the_recipe_names(finished, started_from):
    expected = encoder_of(finished / "model.safetensors")
    for vae, name in ((finished, "a"), (finished / "model.safetensors", "b")):
        weights = load_file(started_from(vae, name) / "vae" / "state.safetensors")
        assert all(torch.equal(weights[f"/objective/{key}"], tensor) for key, tensor in expected.items())


def test_a_stage_1_that_has_begun_goes_on_after_its_start_was_replaced(finished, started_from, tmp_path):
    moved = tmp_path / "moved.safetensors"
    shutil.copy(finished / "model.safetensors", moved)
    started_from(moved)
    kept = [tmp_path / "run" / name for name in ("vae/state.safetensors", "recipe.json")]
    before = [path.read_bytes() for path in kept]
    sampler = idgan.load(finished, device="cpu")
    with torch.no_grad():
        next(sampler.vae.parameters()).add_(1)
    write_checkpoint(moved, sampler)
    started_from(moved)
    assert [path.read_bytes() for path in kept] == before


def test_a_vae_to_start_from_that_does_not_fit_is_refused_before_anything_is_written(started_from, tmp_path):
    with pytest.raises(InvalidInputError, match="other shapes than the recipe's"):
        started_from("celeba-64-w16")
    assert not (tmp_path / "run").exists()


def test_methods_without_the_parent_s_encoder_start_from_random_weights():
    recipe = dataclasses.replace(recipe_of("dsprites"), init_vae_from="somewhere")
    kept = {name for name in METHODS if apply_method(recipe, name).init_vae_from}
    assert kept == {"id-gan", "without-distillation", "cgan", "projected", "reconstructing"}


def test_the_home_of_an_unknown_user_is_a_path_that_does_not_exist():
    with pytest.raises(UnknownModelError, match="neither a directory nor a file"):
        load_pretrained_vae(VAEConfig().build(), "~no-such-user/run/x")
