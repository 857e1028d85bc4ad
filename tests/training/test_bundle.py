"""What a finished run leaves: one file that loads, and what it was measured to be."""

import json
import math
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import idgan
from idgan.evaluation.measure import default_metrics
from idgan.files import sha256_of
from idgan.recipes import describe, override, recipe_of
from idgan.training import train
from idgan.training.bundle import affordable_samples, is_same_checkpoint
from idgan.training.checkpoint import load_state
from idgan.zoo.weights import golden_differences, read_checkpoint, write_checkpoint


def test_the_checkpoint_loads_and_its_goldens_hold(finished):
    path = finished / "model.safetensors"
    sampler = read_checkpoint(path)
    assert len(sampler.bank) == 16
    assert sampler.sample(n=3, seed=0).shape == (3, 1, 64, 64)
    assert all(difference < 1e-4 for difference in golden_differences(path).values())


def test_the_run_directory_loads_by_its_name(finished):
    ours, theirs = idgan.load(finished, device="cpu"), read_checkpoint(finished / "model.safetensors")
    assert torch.equal(ours.sample(n=2, seed=1), theirs.sample(n=2, seed=1))
    assert ours.info["name"] == "dsprites"


def test_its_dimensions_have_names(finished):
    from idgan.data import open_dataset
    from idgan.evaluation.dim_names import factor_names

    sampler = read_checkpoint(finished / "model.safetensors")
    assert sampler.dims == factor_names(sampler.vae, open_dataset("dsprites"), sampler.active_dims)


def test_it_holds_the_moving_average_and_the_selected_encoder(finished):
    model = load_file(finished / "model.safetensors")
    averaged = load_file(finished / "gan" / "state.safetensors")
    selected = load_state(finished / "vae" / "state.safetensors")["best"]
    generator = {name: tensor for name, tensor in model.items() if name.startswith("generator.")}
    assert all(
        torch.equal(tensor, averaged[f"/ema/module.{name.removeprefix('generator.')}"])
        for name, tensor in generator.items()
    )
    assert not all(torch.equal(tensor, averaged[f"/objective/{name}"]) for name, tensor in generator.items())
    assert selected["step"] == 8
    assert all(torch.equal(model[f"vae.{name}"], tensor) for name, tensor in selected["weights"].items())


def test_it_says_how_it_was_made(finished, tiny):
    training = read_checkpoint(finished / "model.safetensors").info["training"]
    settings = tiny(vae_stage__select_every=8)["settings"]
    assert training["recipe"] == "dsprites"
    assert training["settings"] == json.loads(json.dumps(describe(override(recipe_of("dsprites"), settings))))
    assert training["seed"] == 0
    assert training["steps"] == {"vae": 12, "gan": 12}
    # The command alone leads to the same recipe.
    command, *changes = training["command"].split(" --set ")
    assert command.startswith("idgan train dsprites")
    assert describe(override(recipe_of("dsprites"), dict(change.split("=") for change in changes))) == describe(
        override(recipe_of("dsprites"), settings)
    )
    assert training["stages"]["vae"].keys() == {"steps", "seconds", "selected_step", "selection_score"}
    assert (
        training["stages"]["vae"]["steps"],
        training["stages"]["vae"]["selected_step"],
        training["stages"]["gan"]["steps"],
    ) == (
        12,
        8,
        12,
    )
    assert training["wall_time_seconds"] == sum(stage["seconds"] for stage in training["stages"].values())
    assert training["versions"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert training["versions"]["idgan"] == idgan.__version__
    assert "CPU" in training["hardware"]


def test_pictures_are_there(finished):
    for name in "samples.png", "traversals.png":
        with Image.open(finished / name) as image:
            image.load()
            assert min(image.size) > 64


@pytest.mark.slow
def test_a_measured_run_writes_its_results(bands, bands_recipe, tmp_path, tiny):
    options = tiny(vae_stage__select_every=6, vae_stage__steps=6, gan_stage__steps=1) | {"measure": True}
    path = train(bands_recipe, tmp_path, **options)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["name"] == "bands"
    assert results["sha256"] == sha256_of(path)
    assert [metric["details"]["request"]["metric"] for metric in results["metrics"]] == default_metrics(bands)
    for metric in results["metrics"]:
        assert math.isfinite(metric["value"])
        assert metric.keys() >= {"name", "value", "protocol", "samples", "seed", "versions"}
    # Trained again, it does not take the place of what was measured better.
    request = results["metrics"][-1]["details"]["request"]
    request |= {"samples": 50_000, "seed": 9}
    content = json.dumps(results)
    (tmp_path / "results.json").write_text(content)
    train(bands_recipe, tmp_path, **(options | {"threads": 2}))
    assert (tmp_path / "results.json").read_text() == content


def test_a_checkpoint_in_which_nothing_would_differ_stays_as_it_is(finished, tiny, tmp_path, fingerprint):
    shutil.copytree(finished, tmp_path / "run")
    path = tmp_path / "run" / "model.safetensors"
    before = fingerprint(path.parent)[str(path)]
    assert "1 threads" in read_checkpoint(path).info["training"]["hardware"]
    train("dsprites", path.parent, **(tiny(vae_stage__select_every=8) | {"threads": 2}))
    assert fingerprint(path.parent)[str(path)] == before


def test_only_what_was_made_alike_is_the_same_checkpoint(finished, tmp_path):
    path = tmp_path / "model.safetensors"

    def changed(change):
        sampler = read_checkpoint(finished / "model.safetensors")
        change(sampler)
        return sampler

    assert not is_same_checkpoint(path, changed(lambda sampler: None))
    write_checkpoint(path, changed(lambda sampler: None))
    assert is_same_checkpoint(path, changed(lambda sampler: sampler.bank.mean.mul_(1 + 1e-6)))
    assert is_same_checkpoint(
        path, changed(lambda sampler: sampler.info["training"].update(hardware="another", versions={}))
    )
    assert not is_same_checkpoint(path, changed(lambda sampler: sampler.bank.mean.add_(0.01)))
    assert not is_same_checkpoint(path, changed(lambda sampler: sampler.info["training"].update(seed=1)))
    assert not is_same_checkpoint(
        path, changed(lambda sampler: next(sampler.generator.parameters()).data.mul_(1 + 1e-6))
    )
    path.write_bytes(path.read_bytes()[:1000])
    assert not is_same_checkpoint(path, changed(lambda sampler: None))


def test_training_leaves_the_process_as_it_was(finished):
    """Denormals are flushed while training, and only then."""
    assert torch.tensor(1e-40).div(2).item() > 0


def test_the_number_of_measured_images_fits_the_time(finished):
    sampler = read_checkpoint(finished / "model.safetensors")
    assert affordable_samples(sampler, max_seconds=1e9) == 10_000
    assert affordable_samples(sampler, max_seconds=0.0) == 100
