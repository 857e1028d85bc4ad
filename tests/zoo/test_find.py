"""One name, one checkpoint: what `load` takes, in which order, and what it says to the rest.

Nothing here needs a network.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

import idgan
from idgan import zoo
from idgan.errors import (
    CheckpointError,
    CorruptWeightsError,
    HubOfflineError,
    InvalidInputError,
    ManifestError,
    NotTrainedError,
    UnknownModelError,
)
from idgan.files import sha256_of
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, ResNetGeneratorConfig, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.weights import write_checkpoint

CONFIG = ModelConfig(VAEConfig(3), ConvGeneratorConfig(3, 2))


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """The current directory: it holds a finished run, an unfinished one, and manifest entries of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IDGAN_MANIFEST", str(tmp_path / "manifest.json"))
    sampler = Sampler(CONFIG, bank=Posterior(torch.randn(8, 3), torch.full((8, 3), -2.0)), info={"name": "trained-as"})
    write_checkpoint("runs/mine/model.safetensors", sampler)
    Path("runs/unfinished/vae").mkdir(parents=True)
    entry = {
        "status": "recipe",
        "description": "A test",
        "license": "Apache-2.0",
        "data": {"name": "dSprites", "license": "Apache-2.0"},
    }
    entry |= {"resolution": 64, "image_channels": 1, "c_dim": 3, "s_dim": 2}
    models = {"waiting": entry | {"model": CONFIG.to_dict()}, "planned": entry}
    Path("manifest.json").write_text(json.dumps({"schema": 1, "models": models}))
    return tmp_path


@pytest.mark.parametrize(
    "name", ["runs/mine", "runs/mine/", "./runs/../runs/mine", Path("runs/mine"), "runs/mine/model.safetensors"]
)
def test_a_run_and_its_file_load(name):
    sampler = idgan.load(name)
    assert isinstance(sampler, Sampler)
    assert sampler.config == CONFIG
    assert sampler.info["name"] == "trained-as"
    assert sampler.sample(n=2, seed=0).shape == (2, 1, 64, 64)


def test_a_run_loads_from_within(monkeypatch):
    monkeypatch.chdir("runs/mine")
    path = Path("model.safetensors")
    assert zoo.resolve(".") == zoo.ResolvedCheckpoint("mine", path, sha256_of(path))


def test_what_was_resolved_is_what_loads():
    """The file is read once: what takes its place afterwards is not loaded."""
    found = zoo.resolve("runs/mine")
    assert zoo.resolve(found) is found
    images = zoo.load(found, device="cpu").sample(n=2, seed=0)
    Path("runs/mine/model.safetensors").write_bytes(b"another")
    assert torch.equal(zoo.load(found, device="cpu").sample(n=2, seed=0), images)
    assert zoo.verify(found)["ok"]


def test_loaded_samplers_do_not_share_weights():
    found = zoo.resolve("runs/mine")
    first, second = zoo.load(found, device="cpu"), zoo.load(found, device="cpu")
    for parameter in first.parameters():
        parameter.zero_()
    first.info["name"] = "changed"
    assert any(parameter.any() for parameter in second.parameters())
    assert second.info["name"] == "trained-as"


def test_a_resolved_checkpoint_without_content_is_held_to_its_hash():
    path = Path("runs/mine/model.safetensors")
    assert zoo.load(zoo.ResolvedCheckpoint("mine", path, sha256_of(path))).config == CONFIG
    with pytest.raises(CorruptWeightsError, match=f"expected sha256 {'0' * 64}, found {sha256_of(path)}"):
        zoo.load(zoo.ResolvedCheckpoint("mine", path, "0" * 64))


@pytest.mark.parametrize(
    "model", [{"vae": {}, "generator": {}}, {"resolution": 8192}, {"base_width": 256, "max_width": 256}]
)
def test_a_manifest_entry_that_describes_no_model_is_an_error_of_the_manifest(model, monkeypatch):
    monkeypatch.setattr("idgan.zoo.weights.MAX_PARAMETER_BYTES", 1_000_000)
    manifest = json.loads(Path("manifest.json").read_text())
    if "vae" not in model:
        config = ResNetGeneratorConfig(resolution=64, base_width=1, max_width=1, image_channels=1, c_dim=3, s_dim=2)
        model = ModelConfig(VAEConfig(3), replace(config, **model)).to_dict()
    manifest["models"]["waiting"]["model"] = model
    Path("manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match="'waiting' describes no model"):
        idgan.load("waiting", pretrained=False)


def test_plugins_are_loaded_before_a_file_is_read(monkeypatch):
    called = []
    monkeypatch.setattr("idgan.zoo.models.load_plugins", lambda: called.append(True))
    for call in (
        lambda: idgan.load("nothing.safetensors"),
        lambda: zoo.resolve("nothing.safetensors"),
        lambda: zoo.verify("nothing.safetensors"),
    ):
        with pytest.raises(UnknownModelError):
            call()
        assert called
        called.clear()


def test_a_tilde_is_the_home_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "runs"))
    assert zoo.resolve("~/mine").path == tmp_path / "runs/mine/model.safetensors"


def test_what_is_found_has_a_name():
    assert zoo.resolve("runs/mine").name == "mine"
    assert zoo.resolve("runs/mine/model.safetensors").name == "model"
    assert zoo.resolve("runs/mine").path.samefile("runs/mine/model.safetensors")


def test_a_checkpoint_without_a_name_gets_that_of_its_place():
    write_checkpoint("nameless.safetensors", Sampler(CONFIG))
    assert idgan.load("nameless.safetensors").info == {"name": "nameless"}


def test_an_unfinished_run_says_how_to_finish_it():
    with pytest.raises(
        CheckpointError, match=r"runs/unfinished has no model.safetensors, so it is no finished run. .*`idgan train`"
    ):
        idgan.load("runs/unfinished")


def test_names_of_the_manifest_come_first():
    Path("waiting").mkdir()
    Path("runs/mine/model.safetensors").rename("waiting/model.safetensors")
    with pytest.raises(NotTrainedError):
        idgan.load("waiting")
    assert idgan.load("./waiting").config == CONFIG


# ------------------------------------------------------------------ names that nobody has


@pytest.mark.parametrize(
    ("name", "nearest"), [("dsprite", "dsprites"), ("Color-Dsprites", "color-dsprites"), ("wating", "waiting")]
)
def test_unknown_names_get_the_nearest(name, nearest):
    with pytest.raises(UnknownModelError, match=f"did you mean '{nearest}'") as caught:
        idgan.load(name)
    assert all(known in str(caught.value) for known in zoo.list_models())


@pytest.mark.parametrize(
    "name", ["nothing-like-it", "", "a" * 5000, "\0", "tab\tnew\nline", "@main", "org@repo", None, 3]
)
def test_what_is_no_path_is_an_unknown_name(name):
    with pytest.raises(UnknownModelError, match=r"the names are .*dsprites"):
        idgan.load(name)


NOWHERE = [
    "a/b/c",
    "/no/such/run",
    "./mine",
    "../mine",
    "~/mine",
    "mine/",
    "mine.safetensors",
    "runs/mine.safetensors",
    "x/" * 3000,
]


@pytest.mark.parametrize("name", NOWHERE)
def test_paths_that_lead_nowhere(name):
    with pytest.raises(UnknownModelError, match="neither a directory nor a file"):
        idgan.load(name)


def test_a_repository_may_have_been_meant_as_a_directory():
    with pytest.raises(HubOfflineError, match="no directory runs/typo here"):
        idgan.load("runs/typo", local_files_only=True, cache_dir="cache")


@pytest.mark.parametrize(
    "name", ["org/repo@", "org/repo@../x", "org/repo@a b", "o rg/repo", "org/re--po", "org/repo@a@b"]
)
def test_repositories_that_cannot_be(name):
    with pytest.raises(InvalidInputError, match="is not"):
        idgan.load(name, local_files_only=True, cache_dir="cache")


@pytest.mark.parametrize("name", ["runs/mine", "runs/mine/model.safetensors", "waiting", "org/repo@main", "unknown"])
def test_a_revision_is_for_repositories(name):
    with pytest.raises(InvalidInputError, match="revision 'v1' is only for a hub repository"):
        idgan.load(name, revision="v1", local_files_only=True, cache_dir="cache")


# ------------------------------------------------------------------ without weights


def test_a_recipe_says_how_to_get_weights():
    with pytest.raises(NotTrainedError, match="idgan train waiting --out runs/waiting") as caught:
        idgan.load("waiting")
    assert 'idgan.load("waiting", pretrained=False)' in str(caught.value)


def test_a_recipe_loads_with_random_weights():
    sampler = idgan.load("waiting", pretrained=False)
    assert sampler.config == CONFIG
    assert sampler.info == {"name": "waiting", "pretrained": False}
    torch.manual_seed(1)
    other = idgan.load("waiting", pretrained=False)
    assert not torch.equal(sampler.decode(torch.ones(3)), other.decode(torch.ones(3)))


@pytest.mark.parametrize("pretrained", [True, False])
def test_what_has_no_networks_yet_pretends_nothing(pretrained):
    with pytest.raises(NotTrainedError, match=r"planned is planned: .* neither its weights nor its networks"):
        idgan.load("planned", pretrained=pretrained)


@pytest.mark.parametrize(
    "name", [name for name in zoo.list_models() if zoo.info(name)["model"] and zoo.info(name)["resolution"] <= 64]
)
def test_entries_build_what_they_say(name):
    entry = zoo.info(name)
    sampler = idgan.load(name, pretrained=False)
    assert all(getattr(sampler, field) == entry[field] for field in ("resolution", "image_channels", "c_dim", "s_dim"))


# ------------------------------------------------------------------ types and devices


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", torch.bfloat16, "float32"])
def test_dtypes(dtype):
    sampler = idgan.load("runs/mine", dtype=dtype)
    assert str(sampler.dtype).removeprefix("torch.") == str(dtype).removeprefix("torch.")
    assert sampler.sample(n=1, seed=0).dtype == torch.float32


@pytest.mark.parametrize("dtype", ["fp32", "int8", torch.int8, None, 16, []])
def test_other_dtypes(dtype):
    with pytest.raises(InvalidInputError, match="dtype must be one of float32, bfloat16, float16, got"):
        idgan.load("runs/mine", dtype=dtype)


@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_devices(device):
    sampler = idgan.load("runs/mine", device=device)
    assert sampler.device.type == ("cuda" if device == "auto" and torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", None, 3.5])
def test_other_devices(device):
    with pytest.raises(InvalidInputError, match=r"device .* cannot be used here"):
        idgan.load("runs/mine", device=device)


# ------------------------------------------------------------------ the list, the entries, the check


def test_the_list_is_split_by_status():
    every, released, recipes = zoo.list_models(), zoo.list_models(status="released"), zoo.list_models(status="recipe")
    assert every == sorted(every)
    assert sorted(released + recipes) == every
    assert {"waiting", "planned"} <= set(recipes)
    assert all(zoo.info(name)["status"] == "released" for name in released)
    with pytest.raises(InvalidInputError, match="got 'trained'"):
        zoo.list_models(status="trained")


def test_the_list_takes_a_pattern():
    assert zoo.list_models("*-dsprites") == ["color-dsprites", "noisy-dsprites", "scream-dsprites"]
    assert zoo.list_models("dsprites") == ["dsprites"]
    assert zoo.list_models("wait*") == ["waiting"]
    assert zoo.list_models("wait*", pretrained=True) == zoo.list_models("nothing") == []
    assert zoo.list_models(pretrained=True) == zoo.list_models(status="released")
    with pytest.raises(InvalidInputError, match="pattern must be text"):
        zoo.list_models(["celeba"])


def test_info_is_plain_data():
    assert json.loads(json.dumps(zoo.info("waiting")))["model"] == CONFIG.to_dict()
    with pytest.raises(UnknownModelError):
        zoo.info("runs/mine")


def test_verify_holds_a_checkpoint_to_its_goldens():
    result = zoo.verify("runs/mine")
    assert (result["name"], result["ok"]) == ("mine", True)
    assert set(result["differences"]) == set(zoo.TOLERANCES) - {"s_mean"}  # it has no nuisance encoder
    path = Path("runs/mine/model.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load(path.read_bytes())
    tensors["generator.layers.0.weight"] *= 1.5
    safetensors.torch.save_file(tensors, path, metadata)
    result = zoo.verify("runs/mine")
    assert not result["ok"]
    assert result["differences"]["images"] > zoo.TOLERANCES["images"] >= result["differences"]["decoded"]


def test_verify_ignores_a_default_device():
    with torch.device("meta"):
        assert zoo.verify("dsprites")["ok"]
