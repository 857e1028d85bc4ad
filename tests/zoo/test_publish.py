"""Publishing: what one publishes, another loads. An interrupted or refused upload leaves nothing that loads."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from huggingface_hub import ModelCard

import idgan
from idgan.demo import SOURCE_ADVICE
from idgan.errors import (
    FileMissingError,
    HubAuthError,
    HubError,
    HubUnreachableError,
    InvalidInputError,
    RunError,
)
from idgan.evaluation.results import write_results
from idgan.files import sha256_of
from idgan.metrics import MetricResult
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.entries import DataSet, Entry, Weights
from idgan.zoo.manifest import Manifest, write_entry
from idgan.zoo.pretrained import FILES
from idgan.zoo.publish import NO_COMMIT, embed, publish
from idgan.zoo.weights import read_checkpoint, write_checkpoint

TRAINING = {
    "recipe": "dsprites",
    "command": "idgan train dsprites --out runs/dsprites",
    "seed": 3,
    "steps": {"vae": 5, "gan": 6},
}
TRAINING |= {"versions": {"idgan": "0.1"}, "hardware": "a CPU", "wall_time_seconds": 7200.0}


def finish(run, seed=0, training=TRAINING, data="dsprites"):
    """Make `run` a finished and measured run directory."""
    torch.manual_seed(seed)
    mean, logvar = torch.randn(8, 3), torch.full((8, 3), -2.0)
    mean[:, 1], logvar[:, 1] = 0.0, 0.0
    info = {"name": "dsprites", "data": data, "training": training}
    sampler = Sampler(ModelConfig(VAEConfig(3), ConvGeneratorConfig(3, 2)), bank=Posterior(mean, logvar), info=info)
    path = write_checkpoint(run / "model.safetensors", sampler)
    write_results(run / "results.json", "dsprites", sha256_of(path), [MetricResult("mig", 0.25, "a | b", 100, 0)])
    return run


@pytest.fixture
def run(tmp_path):
    return finish(tmp_path / "run")


@pytest.fixture
def cache(tmp_path):
    return {"cache_dir": tmp_path / "cache", "token": False}


def is_same(model, run):
    """Whether `model` makes the images that the run's own file makes."""
    return torch.equal(model.sample(n=2, seed=1), idgan.load(str(run)).sample(n=2, seed=1))


def child(program, hub, **variables):
    """Start `program` in a process whose hub is `hub`."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_tests", "OMP_NUM_THREADS": "1", **variables}
    environment["PYTHONPATH"] = str(Path(idgan.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, *program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


# ------------------------------------------------------------------ entries


def test_the_entry_says_what_the_run_holds(run):
    entry, _ = publish(run, "org/name", dry_run=True)
    known = Manifest.load()["dsprites"]
    assert (entry.status, entry.description, entry.license, entry.data) == (
        "released",
        "ID-GAN, 64x64 gray images of dSprites",
        known.license,
        known.data,
    )
    assert (entry.resolution, entry.image_channels, entry.c_dim, entry.s_dim) == (64, 1, 3, 2)
    assert entry.training == TRAINING
    assert (entry.active_dims, entry.recipe_steps) == ((2, 0), known.recipe_steps)
    assert [(metric["name"], metric["value"]) for metric in entry.metrics] == [("mig", 0.25)]
    assert ModelConfig.from_dict(entry.model) == read_checkpoint(run / "model.safetensors").config


def test_results_of_another_checkpoint_are_refused(run, tmp_path):
    other = finish(tmp_path / "other", seed=1)
    (other / "model.safetensors").replace(run / "model.safetensors")
    with pytest.raises(RunError, match="idgan evaluate"):
        publish(run, "org/name", dry_run=True)


@pytest.mark.parametrize("content", ["{", "[]", '{"metrics": []}'])
def test_results_that_cannot_be_read_are_refused_and_kept(run, content, tmp_path):
    (run / "results.json").write_text(content)
    with pytest.raises(RunError, match="results.json has no results.*idgan evaluate"):
        embed(run, tmp_path / "checkout")
    assert (run / "results.json").read_text() == content
    assert not (tmp_path / "checkout").exists()


def test_what_the_manifest_does_not_know_must_be_given(tmp_path):
    run = finish(tmp_path / "run", training=TRAINING | {"recipe": "ours"})
    with pytest.raises(InvalidInputError, match="'ours'. Give --license and --data"):
        publish(run, "org/name", dry_run=True)
    terms = {"description": "Ours", "license": "MIT", "data": DataSet("our pictures", "secret")}
    entry, files = publish(run, "org/name", dry_run=True, **terms)
    assert {name: getattr(entry, name) for name in terms} == terms
    assert b"our pictures, secret" in files["README.md"]


def test_of_images_of_ones_own_the_manifest_knows_nothing(tmp_path):
    run = finish(tmp_path / "run", training=TRAINING | {"data": "photos/"})
    with pytest.raises(InvalidInputError, match="was trained on photos/.*--license and --data"):
        publish(run, "org/name", dry_run=True, description="Ours", license="MIT")
    _, files = publish(
        run, "org/name", dry_run=True, description="Ours", license="MIT", data=DataSet("our pictures", "secret")
    )
    assert b"our pictures, secret" in files["README.md"]


def test_embed_puts_the_file_and_its_entry_into_the_source_tree(run, tmp_path):
    entry = embed(run, tmp_path / "checkout")
    placed = tmp_path / "checkout/idgan/weights/dsprites.safetensors"
    assert placed.read_bytes() == (run / "model.safetensors").read_bytes()
    assert entry.weights == Weights("dsprites.safetensors", sha256_of(placed), placed.stat().st_size, embedded=True)
    assert Manifest.read(tmp_path / "checkout/weights_manifest.json")["dsprites"] == Entry.from_json(
        json.loads(json.dumps(entry.to_json()))
    )


def test_an_entry_keeps_the_steps_of_its_recipe_after_a_run_on_other_images(run, tmp_path):
    steps = embed(run, tmp_path / "checkout").recipe_steps
    other = finish(tmp_path / "other", training=TRAINING | {"data": "photos/"})
    terms = {"description": "Ours", "license": "MIT", "data": DataSet("our pictures", "secret")}
    assert steps and embed(other, tmp_path / "checkout", **terms).recipe_steps == steps


def test_a_large_checkpoint_lies_beside_the_package(run, tmp_path, monkeypatch):
    """A source tree has it, and an installation without that folder says how to get it."""
    checkout = tmp_path / "checkout"
    embed(run, checkout)
    monkeypatch.setattr("idgan.zoo.publish.MAX_EMBEDDED_BYTES", 1_000_000)
    entry = embed(run, checkout)
    placed = checkout / "weights/dsprites.safetensors"
    assert entry.weights == Weights(placed.name, sha256_of(placed), placed.stat().st_size, beside=True)
    assert not (checkout / "idgan/weights/dsprites.safetensors").exists()  # the one that was embedded before

    package = Path(idgan.__file__).parent
    left_out = shutil.ignore_patterns("*.safetensors", "weights_manifest.json", "__pycache__")  # a wheel has all three
    shutil.copytree(package, checkout / "idgan", ignore=left_out, dirs_exist_ok=True)
    code = "import idgan; print(idgan.__file__); idgan.load('dsprites', device='cpu').sample(n=1)"
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

    def load():
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    found = load()
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(str(checkout))
    (checkout / "weights").rename(tmp_path / "elsewhere")
    assert "WeightsNotHereError: dsprites.safetensors" in (error := load().stderr)
    assert "weights/dsprites.safetensors in a checkout of idgan" in error and "pip install -e ." in error


# ------------------------------------------------------------------ publish, load, sample


def test_what_is_published_loads_and_samples(run, hub, cache, tmp_path, monkeypatch):
    entry, files = publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    commit = entry.weights.revision
    assert hub.repos["org/name"].commits[commit] == files
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert len(hub.repos["org/name"].commits) == 2  # the empty one of a new repository, and ours

    assert is_same(idgan.load(f"org/name@{commit}", endpoint=hub.url, **cache), run)

    manifest = write_entry(tmp_path / "zoo.json", "ours", entry)
    monkeypatch.setenv("IDGAN_MANIFEST", str(manifest))
    asked = len(hub.requests)
    assert is_same(idgan.load("ours", endpoint=hub.url, **cache), run)
    assert len(hub.requests) == asked  # pinned and cached


def test_publishing_the_same_again_makes_no_commit(run, hub):
    first, _ = publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    again, _ = publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    assert again == first
    assert len(hub.repos["org/name"].commits) == 2

    changed, _ = publish(finish(run, seed=1), "org/name", endpoint=hub.url, token="hf_tests")
    assert changed.weights.revision != first.weights.revision
    assert len(hub.repos["org/name"].commits) == 3


def test_the_lines_of_the_card_run(run, hub, cache):
    _, files = publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    lines = files["README.md"].decode().partition("```python\n")[2].partition("```")[0]
    names = {"options": {"endpoint": hub.url, **cache}}
    exec(lines.replace('"org/name"', '"org/name", **options'), names)
    assert names["images"].shape == (8, 1, 64, 64)


def test_a_dry_run_asks_for_nothing(run, hub):
    entry, files = publish(run, "org/name", endpoint=hub.url, dry_run=True)
    assert hub.requests == []
    assert entry.weights.revision == NO_COMMIT
    assert sorted(files) == sorted(FILES)


def test_the_card_tells_terms_measurements_and_how_to_load(run):
    entry, files = publish(run, "org/name", dry_run=True)
    card = files["README.md"].decode()
    expected = {"license": "apache-2.0", "library_name": "idgan", "datasets": ["dsprites"]}
    expected["pipeline_tag"] = "unconditional-image-generation"
    assert ModelCard(card).data.to_dict().items() >= expected.items()
    (result,) = ModelCard(card).data.eval_results
    assert (result.metric_type, result.metric_value, result.metric_config) == ("mig", 0.25, "a | b")
    assert (result.dataset_name, result.metric_args) == ("dSprites", {"samples": 100, "seed": 0})
    for part in (
        TRAINING["command"],
        'idgan.load("org/name")',
        entry.data.name,
        "2 of 3 dimensions of c are active",
        "c2: ",
        "2.0 hours on a CPU",
    ):
        assert part in card
    assert "| mig | 0.2500 | 100 | 0 | a \\| b |" in card
    custom = publish(run, "org/name", dry_run=True, license="LicenseRef-ours")[1]["README.md"].decode()
    terms = {"license": "other", "license_name": "licenseref-ours"}
    assert ModelCard(custom).data.to_dict().items() >= terms.items()


def test_the_card_counts_the_time_of_the_stages_that_the_training_ran(tmp_path):
    stages = {"vae": {"steps": 5, "seconds": 6600, "from": "org/faces"}, "gan": {"steps": 6, "seconds": 600}}
    run = finish(tmp_path / "run", training=TRAINING | {"stages": stages})
    card = publish(run, "org/name", dry_run=True)[1]["README.md"].decode()
    assert "It took 10.0 minutes on a CPU. Stage `vae` is that of `org/faces`, whose time is not counted." in card


def test_a_card_claims_nothing_that_was_not_measured(run):
    """A run of 11 steps: the card says so, and what nobody measured."""
    card = publish(run, "org/name", dry_run=True)[1]["README.md"].decode()
    steps = Manifest.load()["dsprites"].recipe_steps
    short = f"5 of the recipe's {steps['vae']:,} steps in stage `vae`, 6 of the recipe's {steps['gan']:,} steps"
    assert f"**It was trained for less than its recipe asks:** {short} in stage `gan`." in card
    assert "The quality of its images was not measured." in card
    assert "stands for one property of the images was not measured" not in card  # MIG was
    write_results(run / "results.json", "dsprites", sha256_of(run / "model.safetensors"), [])
    card = publish(run, "org/name", dry_run=True)[1]["README.md"].decode()
    assert "Nothing was measured on this file." in card and not ModelCard(card).data.eval_results
    assert "stands for one property of the images was not measured" in card
    for praise in ("sharp", "high-fidelity", "state of the art", "disentangled"):
        assert praise not in card.lower()


def test_terms_of_a_recipe_are_those_of_its_data_set_only(tmp_path):
    run = finish(tmp_path / "run", data="noisy-dsprites")
    with pytest.raises(
        InvalidInputError, match="trained on the data set noisy-dsprites, which is not that of dsprites"
    ):
        publish(run, "org/name", dry_run=True)


def test_no_path_of_a_private_machine_is_published(tmp_path):
    home = "/home/alice/secret project"
    training = TRAINING | {
        "command": f"idgan train dsprites --vae {home}/runs/vae --data '{home}/photos' "
        "--set init=C:\\\\alice\\\\vae --out runs/mine",
        "data": f"{home}/photos/",
        "stages": {"vae": {"steps": 5, "from": f"{home}/runs/vae"}},
        "settings": {"init_vae_from": "~alice/runs/vae", "loss": "mean/std"},
    }
    run = finish(tmp_path / "run", training=training)
    terms = {"description": "Ours", "license": "MIT", "data": DataSet("our pictures", "secret")}
    entry, files = publish(run, "org/name", dry_run=True, **terms)
    texts = ("README.md", "config.json", "model.safetensors")
    published = [json.dumps(entry.to_json()).encode(), *(files[name] for name in texts)]
    assert not any(b"alice" in text for text in published)
    assert "--data photos --set init=vae --out runs/mine" in files["README.md"].decode()
    assert entry.training["stages"]["vae"] == {"steps": 5, "from": "vae"}
    assert entry.training["settings"] == {"init_vae_from": "vae", "loss": "mean/std"}
    assert json.loads(files["config.json"])["training"] == entry.training
    ours, theirs = (
        safetensors.torch.load(files["model.safetensors"]),
        safetensors.torch.load_file(run / "model.safetensors"),
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [metric["value"] for metric in entry.metrics] == [0.25]
    model = idgan.load(run)
    model.info["note"] = home  # it is not in that file any more
    assert b"alice" not in (model.save_pretrained(tmp_path / "saved") / "model.safetensors").read_bytes()
    embed(run, tmp_path / "checkout", **terms)
    assert b"alice" not in (tmp_path / "checkout/idgan/weights/dsprites.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("method", "untrained", "says"),
    [
        ("gan", ["encoder", "decoder"], "Not trained, and not served: its encoder and decoder."),
        ("infogan", ["decoder"], "Not trained, and not served: its decoder."),
        ("vae-gan", [], "a code c of 3 dimensions and a nuisance s of 2"),
    ],
)
def test_the_card_of_a_baseline_names_its_method(tmp_path, method, untrained, says):
    run = finish(tmp_path / "run", training=TRAINING | {"method": method, "untrained": untrained})
    card = publish(run, "org/name", dry_run=True)[1]["README.md"].decode()
    assert f"This is no ID-GAN but the method `{method}`, which ID-GAN is compared with." in card and says in card
    assert ("An encoder reads" in card) == ("encoder" not in untrained)
    assert ("Encoding keeps" in card) == ("encoder" not in untrained)
    own = finish(tmp_path / "run", training=TRAINING | {"method": None})
    assert (
        "It follows no method of the package.\nAn encoder reads a code c from an image.\nA generator draws 64x64 gray"
        in publish(own, "org/name", dry_run=True)[1]["README.md"].decode()
    )


def test_what_no_manifest_accepts_as_a_name_is_not_embedded(tmp_path):
    run = finish(tmp_path / "run", training=TRAINING | {"recipe": "My Faces"})
    with pytest.raises(InvalidInputError, match="'My Faces' cannot be a name in a manifest"):
        embed(run, tmp_path / "checkout", license="MIT", data=("faces", "MIT"))
    assert not (tmp_path / "checkout").exists()


def test_a_baseline_does_not_take_the_name_of_a_recipe(tmp_path, hub):
    run = finish(tmp_path / "run", training=TRAINING | {"method": "gan"})
    refused = r"the method gan, and 'dsprites' is an ID-GAN: choose another name, such as dsprites-gan"
    with pytest.raises(InvalidInputError, match=refused):
        embed(run, tmp_path / "checkout")
    for repo, name in ("org/dsprites", "ours"), ("org/name", "dsprites"):
        with pytest.raises(InvalidInputError, match=refused):
            publish(run, repo, name=name, endpoint=hub.url, token="hf_tests")
    assert hub.requests == [] and not (tmp_path / "checkout").exists()
    assert publish(run, "org/dsprites-gan", name="dsprites-gan", dry_run=True)[0].training["method"] == "gan"
    named = finish(tmp_path / "named", training=TRAINING | {"method": "id-gan"})
    assert publish(named, "org/dsprites", name="dsprites", dry_run=True)[0].training["method"] == "id-gan"


def test_a_mirror_of_the_lab_serves_what_the_command_published(run, hub, cache, tmp_path, monkeypatch):
    """The whole command with the mirror as HF_ENDPOINT. Then the model loads by its name in the manifest."""
    manifest = tmp_path / "zoo.json"
    sent = child(
        ["-m", "idgan", "publish", str(run), "--repo", "lab/sprites", "--private", "--manifest", str(manifest)], hub
    )
    output, errors = sent.communicate()
    assert sent.returncode == 0, errors
    assert "hf_tests" not in output + errors
    assert json.loads(output)["sprites"] == json.loads(manifest.read_text())["models"]["sprites"]
    assert hub.repos["lab/sprites"].private
    monkeypatch.setenv("IDGAN_MANIFEST", str(manifest))
    assert is_same(idgan.load("sprites", endpoint=hub.url, **cache), run)


# ------------------------------------------------------------------ tags


@pytest.fixture
def tagging(hub):
    """The hub's route for tags."""

    def fault(request):
        if "/tag/" not in request.path:
            return False
        tag, commit = json.loads(request.body)["tag"], request.path.rpartition("/")[2]
        branches = hub.repos["org/name"].branches
        status = 409 if tag in branches else 200
        branches.setdefault(tag, commit)
        return request.answer(status, {})

    hub.fault = fault
    return hub


def test_a_tag_names_the_commit_and_never_moves(run, tagging, cache):
    options = {"endpoint": tagging.url, "token": "hf_tests", "tag": "v1"}
    entry, _ = publish(run, "org/name", **options)
    assert publish(run, "org/name", **options)[0] == entry
    assert is_same(idgan.load("org/name@v1", endpoint=tagging.url, **cache), run)
    with pytest.raises(HubError, match="is not moved"):
        publish(finish(run, seed=1), "org/name", **options)
    assert tagging.repos["org/name"].branches["v1"] == entry.weights.revision


# ------------------------------------------------------------------ what goes wrong


def test_killed_in_the_middle_leaves_nothing_that_loads(run, hub, cache):
    reached, go = threading.Event(), threading.Event()

    def fault(request):
        if request.command == "PUT":
            reached.set()
            go.wait(60)
            return request.hang_up()

    hub.fault = fault
    program = f"from idgan.zoo.publish import publish; publish({str(run)!r}, 'org/name')"
    process = child(["-c", program], hub)
    assert reached.wait(60)
    process.kill()
    process.communicate()
    go.set()
    hub.fault = lambda request: False
    with pytest.raises(FileMissingError):
        idgan.load("org/name", endpoint=hub.url, **cache)
    entry, _ = publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    assert is_same(idgan.load(f"org/name@{entry.weights.revision}", endpoint=hub.url, **cache), run)


@pytest.mark.parametrize(("status", "words"), [(401, "token is missing or refused"), (403, "may not write")])
def test_a_token_that_does_not_do(run, hub, status, words):
    hub.fault = lambda request: request.answer(status)
    with pytest.raises(HubAuthError, match=words) as caught:
        publish(run, "org/name", endpoint=hub.url, token="hf_secret")
    assert "hf_secret" not in str(caught.value)
    assert hub.repos == {}


def test_an_odd_token_is_not_shown(run, hub):
    with pytest.raises(HubAuthError) as caught:
        publish(run, "org/name", endpoint=hub.url, token="hf_sec ret\n")
    assert "hf_sec" not in str(caught.value)
    assert hub.requests == []


def test_a_commit_that_races_another_publishes_nothing(run, hub):
    hub.fault = lambda request: "/commit/" in request.path and request.answer(412)
    with pytest.raises(HubError, match="publish again"):
        publish(run, "org/name", endpoint=hub.url, token="hf_tests")
    assert list(hub.repos["org/name"].commits.values()) == [{}]


def test_no_connection(run, hub):
    hub.fault = lambda request: request.hang_up()
    with pytest.raises(HubUnreachableError, match="publish again"):
        publish(run, "org/name", endpoint=hub.url, token="hf_tests")


def test_a_public_repository_does_not_become_private_in_silence(run, hub):
    hub.add("org/name", {})
    with pytest.raises(HubError, match="is public"):
        publish(run, "org/name", private=True, endpoint=hub.url, token="hf_tests")
    assert len(hub.repos["org/name"].commits) == 1


@pytest.mark.parametrize("name", ["model.safetensors", "results.json"])
def test_an_unfinished_run_is_refused(run, hub, name):
    (run / name).unlink()
    with pytest.raises(RunError, match=f"{name}.*idgan (train|evaluate)"):
        publish(run, "org/name", endpoint=hub.url)
    assert hub.requests == []


def test_networks_that_do_not_compute_their_goldens_are_refused(run, hub):
    path = run / "model.safetensors"
    content = bytearray(path.read_bytes())
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    start = 8 + int.from_bytes(content[:8], "little") + header["golden.images"]["data_offsets"][0]
    content[start : start + 4] = torch.tensor(0.123).numpy().tobytes()
    path.write_bytes(content)
    write_results(run / "results.json", "dsprites", sha256_of(path), [])
    with pytest.raises(RunError, match="golden"):
        publish(run, "org/name", endpoint=hub.url)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("repo", "tag"),
    [("name", None), ("a/b/c", None), ("../x", None), ("org/name", "a/b"), ("org/name", "a b"), ("org/name", "")]
    + [("org/name", tag) for tag in ("_v1", "v1..2", "é")],  # `load` refuses them
)
def test_odd_names_are_refused(run, repo, tag):
    with pytest.raises(InvalidInputError):
        publish(run, repo, tag=tag, dry_run=True)


# ------------------------------------------------------------------ Space


def test_a_space_of_what_is_published_is_written(run, hub, tmp_path):
    pytest.importorskip("gradio", reason="gradio (the extra demo) is not installed")
    command = ["-m", "idgan", "publish", str(run), "--repo", "lab/sprites", "--space"]
    place = tmp_path / "space"
    process = child([*command, str(place), "--dry-run"], hub)
    _, said = process.communicate()
    assert process.returncode == 2 and "--dry-run writes nothing, so it excludes --space" in said
    assert not place.exists() and hub.requests == []
    process = child([*command, str(place)], hub)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert f"hf upload ORG/NAME {place} --repo-type space" in said and SOURCE_ADVICE in said
    assert sorted(path.name for path in place.iterdir()) == ["README.md", "app.py", "requirements.txt"]
    assert "idgan.load('lab/sprites')" in (place / "app.py").read_text()
