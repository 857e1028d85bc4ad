"""Models as directories and hub repositories: what is saved or pushed is what loads, and it says only what is so."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

import idgan
from idgan.errors import CheckpointError, CorruptWeightsError, InvalidInputError, ManifestError
from idgan.evaluation.results import write_results
from idgan.files import sha256_of
from idgan.metrics import MetricResult
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.entries import DataSet, SavedModel, read_saved_model
from idgan.zoo.naming import write_names
from idgan.zoo.pretrained import FILES
from idgan.zoo.publish import publish
from idgan.zoo.weights import write_checkpoint

TERMS = {"license": "MIT", "data": ("our pictures", "our own")}
TRAINING = {"recipe": "ours", "command": "idgan train ours", "seed": 3, "steps": {"vae": 5, "gan": 6}}
TRAINING |= {"versions": {"idgan": "0.1"}, "hardware": "a CPU", "wall_time_seconds": 90.0}


def make(info):
    """A sampler with active dimensions 2 and 0."""
    mean, logvar = torch.randn(8, 3), torch.full((8, 3), -2.0)
    mean[:, 1], logvar[:, 1] = 0.0, 0.0
    mean[:, 2] *= 3
    return Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3, 2)), bank=Posterior(mean, logvar), info=info)


@pytest.fixture
def run(tmp_path):
    """A finished and measured run directory."""
    path = write_checkpoint(tmp_path / "run/model.safetensors", make({"name": "ours", "training": TRAINING}))
    write_results(path.with_name("results.json"), "ours", sha256_of(path), [MetricResult("mig", 0.25, "p", 100, 0)])
    return path.parent


@pytest.fixture
def saved(run, tmp_path):
    """The directory of the saved model of the run."""
    return idgan.load(run).save_pretrained(tmp_path / "saved", **TERMS)


def is_same(one, other):
    """Whether two samplers draw the same images and encode them to the same codes."""
    images = one.sample(n=2, seed=1)
    return torch.equal(images, other.sample(n=2, seed=1)) and torch.equal(one.encode(images), other.encode(images))


# ------------------------------------------------------------------ directories


def test_a_saved_model_loads_by_either_name(saved, run):
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    for load in (idgan.load, Sampler.from_pretrained):
        for place in (saved, str(saved)):
            assert is_same(load(place, device="cpu"), idgan.load(run))


def test_config_json_states_hash_and_facts(saved, run):
    config = read_saved_model(saved / "config.json")
    path = saved / "model.safetensors"
    assert (config.weights.sha256, config.weights.bytes) == (sha256_of(path), path.stat().st_size)
    assert (config.license, config.data) == ("MIT", DataSet("our pictures", "our own"))
    assert (config.name, config.active_dims, config.training) == ("ours", (2, 0), TRAINING)
    assert [metric["value"] for metric in config.metrics] == [0.25]
    assert ModelConfig.from_dict(config.model) == idgan.load(run).config
    assert json.loads((saved / "config.json").read_text())["library_name"] == "idgan"


def test_what_was_not_changed_keeps_its_file_and_its_results(saved, tmp_path):
    again = idgan.load(saved).save_pretrained(tmp_path / "again")
    assert {name: (again / name).read_bytes() for name in FILES} == {
        name: (saved / name).read_bytes() for name in FILES
    }


def test_what_was_measured_on_a_saved_model_is_saved_with_it(saved, tmp_path):
    results = [MetricResult("mig", 0.5, "p", 200, 0), MetricResult("fvm", 0.75, "q", 100, 0)]
    write_results(saved / "results.json", "ours", sha256_of(saved / "model.safetensors"), results[1:])
    again = read_saved_model(idgan.load(saved).save_pretrained(tmp_path / "again") / "config.json")
    assert [(metric["name"], metric["value"]) for metric in again.metrics] == [("mig", 0.25), ("fvm", 0.75)]
    write_results(saved / "results.json", "ours", sha256_of(saved / "model.safetensors"), results)
    entry, _ = publish(saved, "org/name", dry_run=True)
    assert [(metric["name"], metric["value"]) for metric in entry.metrics] == [("mig", 0.5), ("fvm", 0.75)]


def test_a_model_of_the_zoo_keeps_what_the_manifest_knows(tmp_path):
    known = idgan.info("dsprites")
    config = read_saved_model(idgan.load("dsprites").save_pretrained(tmp_path / "saved") / "config.json")
    assert config.weights.sha256 == known["weights"]["sha256"]
    assert [config.description, config.license, config.data.to_json(), list(config.metrics)] == [
        known[name] for name in ("description", "license", "data", "metrics")
    ]


def test_a_changed_model_loses_the_results_and_says_where_it_comes_from(saved, tmp_path):
    model = idgan.load(saved)
    origin = model.origin.sha256
    with torch.no_grad():
        next(model.generator.parameters()).mul_(1.5)
    changed = model.save_pretrained(tmp_path / "changed")
    config, card = read_saved_model(changed / "config.json"), (changed / "README.md").read_text()
    assert (config.metrics, config.changed_from, config.license) == ((), origin, "MIT")
    assert "It was changed after the training" in card and origin in card
    assert "Nothing was measured on this file." in card
    assert is_same(idgan.load(changed), model)
    assert not is_same(idgan.load(changed), idgan.load(saved))
    once_more = idgan.load(changed).save_pretrained(tmp_path / "once-more")
    assert read_saved_model(once_more / "config.json").changed_from == origin


def test_names_of_dimensions_are_in_config_and_card(saved, tmp_path):
    """Names that are given to a saved model change its file, its hash and its config alike."""
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    write_names(saved, {})
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    write_names(saved, {"size": 2})
    model = idgan.load(saved)
    assert (model.dims, model.origin.saved.dims) == ({"size": 2}, {"size": 2})
    again = model.save_pretrained(tmp_path / "again")
    assert "`size` (c2): " in (again / "README.md").read_text()
    assert [metric["value"] for metric in read_saved_model(again / "config.json").metrics] == [0.25]


def test_the_card_of_a_saved_model_has_the_names(saved, tmp_path):
    """Names that are given one after the other, and renamed, leave the card that a new save would write."""
    card = saved / "README.md"
    for names, text in (({"size": 2}, "`size` (c2): "), ({"left": 0, "width": 2}, "`width` (c2): ")):
        write_names(saved, names)
        assert text in card.read_text()
    assert "`left` (c0): " in card.read_text() and "size" not in card.read_text()
    again = idgan.load(saved).save_pretrained(tmp_path / "again")
    assert card.read_bytes() == (again / "README.md").read_bytes()


def test_the_traversals_of_a_saved_model_show_the_names(saved, tmp_path):
    picture = saved / "traversals.png"
    unnamed = picture.read_bytes()
    write_names(saved, {"size": 2})
    again = idgan.load(saved).save_pretrained(tmp_path / "again")
    assert picture.read_bytes() == (again / "traversals.png").read_bytes() != unnamed
    write_names(saved, {"width": 2})
    renamed = picture.read_bytes()
    assert renamed not in (unnamed, (again / "traversals.png").read_bytes())
    picture.write_bytes(unnamed)
    write_names(saved, {"width": 2})  # no name changes
    assert picture.read_bytes() == unnamed
    picture.unlink()
    write_names(saved, {"size": 2})
    assert not picture.exists()


def test_a_card_that_was_edited_stays_and_a_missing_one_is_not_made(saved, caplog):
    card = saved / "README.md"
    edited = card.read_text() + "\nWe made it for the fair.\n"
    card.write_text(edited)
    write_names(saved, {"size": 2})
    assert card.read_text() == edited
    assert "was edited, or made for a hub or by another version. It stays without the new names" in caplog.text
    card.unlink()
    write_names(saved, {"left": 0})
    assert not card.exists()
    assert read_saved_model(saved / "config.json").dims == idgan.load(saved).dims == {"size": 2, "left": 0}


def test_another_checkpoint_beside_a_saved_model_is_named_alone(saved):
    other = write_checkpoint(saved / "other.safetensors", make({}))
    config, picture = (saved / "config.json").read_bytes(), (saved / "traversals.png").read_bytes()
    write_names(other, {"size": 2})
    assert idgan.load(other).dims == {"size": 2} and idgan.load(saved).dims == {}
    assert (saved / "config.json").read_bytes() == config
    assert (saved / "traversals.png").read_bytes() == picture


def test_names_are_not_written_into_what_is_no_saved_model(saved):
    """Another checkpoint in its place, and a config.json of another tool: nothing is written."""
    path, config = saved / "model.safetensors", saved / "config.json"
    write_checkpoint(path, make({"name": "swapped"}))
    before = path.read_bytes(), config.read_bytes()
    with pytest.raises(CorruptWeightsError, match="expected sha256|bytes"):
        write_names(saved, {"size": 2})
    assert (path.read_bytes(), config.read_bytes()) == before
    config.write_text('{"model_type": "bert"}')
    with pytest.raises(ManifestError, match=r"config\.json"):
        write_names(path, {"size": 2})
    assert (path.read_bytes(), config.read_text()) == (before[0], '{"model_type": "bert"}')


def test_a_tuned_model_says_where_it_comes_from(saved, tmp_path):
    model = idgan.load(saved)
    x = model.sample(n=1, seed=0)
    own = model.tuned(x, *model.codes(1, 0), steps=1, progress=False)
    config = read_saved_model(own.save_pretrained(tmp_path / "own") / "config.json")
    assert (config.name, config.changed_from) == ("ours, tuned to one image", model.origin.sha256)
    assert config.metrics == ()


def test_a_model_that_was_never_in_a_file_is_saved(tmp_path):
    model = make({})
    place = model.save_pretrained(tmp_path / "saved")
    config, card = read_saved_model(place / "config.json"), (place / "README.md").read_text()
    assert is_same(idgan.load(place), model)
    assert (config.license, config.data, config.training, config.changed_from) == (None, None, None, None)
    assert "no license is stated" in card and "no record of its training" in card


def test_random_weights_are_called_random(tmp_path):
    place = idgan.load("dsprites", pretrained=False).save_pretrained(tmp_path / "saved")
    assert "**Its weights are random.**" in (place / "README.md").read_text()
    assert read_saved_model(place / "config.json").metrics == ()


def test_a_byte_that_differs_is_found(saved):
    path = saved / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptWeightsError, match=f"expected sha256 .* found {sha256_of(path)}"):
        Sampler.from_pretrained(saved)
    path.unlink()
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        Sampler.from_pretrained(saved)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"weights": {"file": "../x.safetensors"}}'])
def test_a_damaged_config_is_named(saved, content):
    (saved / "config.json").write_text(content)
    with pytest.raises(ManifestError, match=r"config\.json"):
        idgan.load(saved)


def test_a_config_may_have_more_fields_or_be_missing(saved, run):
    path = saved / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "_of_another_tool": [1]}))
    assert is_same(idgan.load(saved), idgan.load(run))
    path.unlink()
    assert is_same(idgan.load(saved), idgan.load(run))


def test_an_earlier_save_is_replaced_and_nothing_else_is(saved, run, tmp_path):
    other = make({"name": "other"})
    assert is_same(idgan.load(other.save_pretrained(saved)), other)
    before = (run / "model.safetensors").read_bytes()
    for place in (run, run / "results.json"):
        with pytest.raises(InvalidInputError, match="holds other files|is not a directory"):
            other.save_pretrained(place)
    assert (run / "model.safetensors").read_bytes() == before
    assert not (run / "config.json").exists()


def test_results_of_another_checkpoint_are_not_taken(run, tmp_path):
    write_checkpoint(run / "model.safetensors", make({"name": "ours"}))
    place = idgan.load(run).save_pretrained(tmp_path / "saved")
    assert read_saved_model(place / "config.json").metrics == ()


@pytest.mark.parametrize(
    ("value", "public"),
    [
        ("/home/me/lr=0.1/run", "run"),
        ("/home/me/my runs/a=1", "a=1"),
        ("--out=/home/me/lr=0.1/run", "--out=run"),
        ("--set=data=/home/me/x", "--set=data=x"),
        ("idgan train x --data /home/me/lr=0.1/x", "idgan train x --data x"),
        ("/home/u/venv/bin/idgan train x --set a=b", "idgan train x --set a=b"),
        ("/home/u/bin/idgan train x --out /home/u/run", "idgan train x --out run"),
        (r"C:\Users\me\my runs\run", "run"),
        ("idgan train x --set lr=0.1 --out runs/mine", "idgan train x --set lr=0.1 --out runs/mine"),
        ("mean/std of it's own", "mean/std of it's own"),
    ],
)
def test_private_paths_are_cut_in_training_records(tmp_path, value, public):
    sampler = make({"training": TRAINING | {"command": value}})
    config = read_saved_model(sampler.save_pretrained(tmp_path / "saved") / "config.json")
    assert config.training["command"] == public


@pytest.mark.parametrize("terms", [{"license": "not a license!"}, {"data": ("a\nb", "c")}, {"name": "a\nb"}])
def test_terms_that_are_not_accepted(run, tmp_path, terms):
    with pytest.raises(ManifestError, match="accepted"):
        idgan.load(run).save_pretrained(tmp_path / "saved", **terms)
    assert not (tmp_path / "saved").exists()


# ------------------------------------------------------------------ hubs

FRESH = """
import sys, torch, idgan
model = idgan.Sampler.from_pretrained(sys.argv[1], device="cpu", cache_dir="cache", endpoint=sys.argv[2], token=False)
torch.save(model.sample(n=2, seed=1), "images.pt")
"""


def test_what_is_pushed_loads_in_another_process(saved, hub, tmp_path):
    model = idgan.load(saved)
    address = model.push_to_hub("org/name", endpoint=hub.url, token="hf_tests")
    (commit,) = (commit for commit, files in hub.repos["org/name"].commits.items() if files)
    assert address == f"{hub.url}/org/name/commit/{commit}"
    code = [sys.executable, "-c", FRESH, f"org/name@{commit}", hub.url]
    environment = {"PYTHONPATH": str(Path(idgan.__file__).parents[1]), "HF_HUB_DISABLE_XET": "1", "PATH": ""}
    done = subprocess.run(code, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(tmp_path / "images.pt"), model.sample(n=2, seed=1))


def test_save_push_and_publish_make_the_same_files(run, saved, hub):
    idgan.load(run).push_to_hub("org/pushed", endpoint=hub.url, token="hf_tests", **TERMS)
    publish(run, "org/published", endpoint=hub.url, token="hf_tests", license="MIT", data=DataSet(*TERMS["data"]))
    files = {name: (saved / name).read_bytes() for name in FILES}
    made = {repo: next(filter(None, hub.repos[repo].commits.values())) for repo in ("org/pushed", "org/published")}
    made["org/saved"] = publish(saved, "org/saved", dry_run=True)[1]
    for repo, there in made.items():
        assert there.keys() == files.keys()
        assert all(there[name] == files[name] for name in FILES if name != "README.md")
        card = there["README.md"].decode().replace(repo, "PATH_OF_THIS_DIRECTORY")
        assert ModelCard(card).text.replace(repo.partition("/")[2], "ours") == ModelCard.load(saved / "README.md").text


def test_pushing_the_same_again_makes_no_commit(saved, hub):
    options = {"endpoint": hub.url, "token": "hf_tests"}
    first = idgan.load(saved).push_to_hub("org/name", **options)
    assert idgan.load(saved).push_to_hub("org/name", **options) == first
    assert len(hub.repos["org/name"].commits) == 2


def test_without_license_and_data_nothing_is_pushed(hub):
    with pytest.raises(InvalidInputError, match="license and data of this model are not known"):
        make({}).push_to_hub("org/name", endpoint=hub.url, token="hf_tests")
    assert hub.requests == []


def test_what_a_hub_model_knows_is_kept(saved, hub, tmp_path):
    hub.add("org/name", {name: (saved / name).read_bytes() for name in FILES})
    model = Sampler.from_pretrained("org/name", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    again = model.save_pretrained(tmp_path / "again")
    assert (again / "config.json").read_bytes() == (saved / "config.json").read_bytes()


def test_a_config_of_other_weights_is_refused(saved, hub, tmp_path):
    files = {name: (saved / name).read_bytes() for name in FILES}
    config = read_saved_model(saved / "config.json")
    config = replace(config, weights=replace(config.weights, sha256="0" * 64))
    hub.add("org/name", {**files, "config.json": json.dumps(config.to_json()).encode()})
    with pytest.raises(CorruptWeightsError, match="expected sha256 0000"):
        idgan.load("org/name", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)


def test_weights_and_config_are_of_one_commit(saved, hub, tmp_path):
    """The branch moves between the two requests."""
    hub.add("org/name", {name: (saved / name).read_bytes() for name in FILES})
    shutil.rmtree(saved)
    other_model = make({"name": "other"})
    other = other_model.save_pretrained(saved)

    def fault(request):
        if request.path.endswith("config.json"):
            hub.fault = lambda request: False
            hub.add("org/name", {name: (other / name).read_bytes() for name in FILES})
        return False

    hub.fault = fault
    model = idgan.load("org/name", endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert model.origin.saved.weights.sha256 == model.origin.sha256
    assert not is_same(model, other_model)


def test_a_repository_without_a_config_loads(saved, hub, tmp_path, run):
    """As older versions published it. Offline, too, and then without a request."""
    hub.add("org/name", {"model.safetensors": (saved / "model.safetensors").read_bytes()})
    options = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "token": False}
    assert is_same(idgan.load("org/name", **options), idgan.load(run))
    asked = len(hub.requests)
    assert is_same(idgan.load("org/name", local_files_only=True, **options), idgan.load(run))
    assert len(hub.requests) == asked


def test_a_whole_cached_model_costs_no_request(saved, hub, tmp_path):
    commit = hub.add("org/name", {name: (saved / name).read_bytes() for name in FILES})
    options = {"endpoint": hub.url, "cache_dir": tmp_path / "cache", "token": False}
    idgan.load("org/name", revision=commit, **options)
    asked = len(hub.requests)
    assert idgan.load("org/name", revision=commit, **options).origin.saved is not None
    assert len(hub.requests) == asked


# ------------------------------------------------------------------ a real run


@pytest.mark.slow
def test_the_card_of_a_real_short_run(tmp_path):
    """Both stages of the recipe, for 4 and 3 steps, measured on 64 samples."""
    settings = {
        "vae_stage.steps": 4,
        "vae_stage.batch_size": 4,
        "vae_stage.select_every": 0,
        "gan_stage.steps": 3,
        "gan_stage.batch_size": 4,
        "bank_size": 16,
    }
    options = {"device": "cpu", "threads": 1, "progress": False, "measure": False}
    idgan.train("dsprites", tmp_path / "run", settings=settings, **options)
    out = tmp_path / "run" / "results.json"
    (result,) = idgan.evaluate(tmp_path / "run", metrics="alignment", samples=64, out=out, progress=False)
    _, files = publish(tmp_path / "run", "org/name", dry_run=True)
    config = SavedModel.from_json(json.loads(files["config.json"]))
    card = ModelCard(files["README.md"].decode())
    planned = idgan.info("dsprites")["recipe_steps"]
    for stage, steps in (("vae", 4), ("gan", 3)):
        assert f"{steps} of the recipe's {planned[stage]:,} steps in stage `{stage}`" in card.text
    assert "**It was trained for less than its recipe asks:**" in card.text
    assert config.description == "ID-GAN, 64x64 gray images of dSprites"
    assert [(item.metric_type, item.metric_value) for item in card.data.eval_results] == [(result.name, result.value)]
    assert "The quality of its images was not measured." in card.text
    assert max(idgan.load(tmp_path / "run").dim_kl) < 0.1  # after 4 steps, the encoder knows nothing
    assert "None of the 10 dimensions of c is active" in card.text
    assert config.active_dims == ()
