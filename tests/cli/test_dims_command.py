"""`idgan dims` shows and writes the names of code dimensions."""

import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

import idgan
from idgan.networks import ConvGeneratorConfig, ModelConfig, Posterior, VAEConfig
from idgan.sampler import Sampler
from idgan.zoo.weights import write_checkpoint


def test_names_given_by_hand(run):
    before = load_file("runs/small/model.safetensors")
    assert "size" in run("dims", "runs/small", "--name", "size=2")
    run("dims", "runs/small", "--name", "left=0")
    assert idgan.load("runs/small", device="cpu").dims == {"size": 2, "left": 0}
    run("dims", "runs/small", "--name", "scale=2")  # a new name for 2
    assert idgan.load("runs/small", device="cpu").dims == {"scale": 2, "left": 0}
    after = load_file("runs/small/model.safetensors")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert run("verify", "runs/small").startswith("small: ok")


def test_the_table(run):
    run("dims", "small.safetensors", "--name", "size=2")
    heading, *rows = run("dims", "small.safetensors").splitlines()
    assert heading.split() == ["dim", "name", "KL", "range"]
    assert rows[1].split() == ["1", "0.00", "inactive"]
    assert rows[2].split()[:2] == ["2", "size"]
    table = json.loads(run("dims", "small.safetensors", "--json"))
    assert [row["name"] for row in table] == [None, None, "size"]
    assert [row["active"] for row in table] == [True, False, True]


def test_results_stay_those_of_the_checkpoint(run):
    from idgan.files import sha256_of

    results = {"name": "small", "sha256": sha256_of("runs/small/model.safetensors"), "metrics": []}
    with open("runs/small/results.json", "w") as file:
        json.dump(results, file)
    run("dims", "runs/small", "--name", "size=2")
    with open("runs/small/results.json") as file:
        assert json.load(file)["sha256"] == sha256_of("runs/small/model.safetensors")


def test_the_traversals_of_a_run_show_the_names(run, directory):
    run("traverse", "runs/small", "--steps", "7", "--out", "runs/small/traversals.png")  # as training draws it
    run("dims", "runs/small", "--name", "size=2")
    run("traverse", "runs/small", "--steps", "7", "--out", "named.png")
    assert (directory / "runs/small/traversals.png").read_bytes() == (directory / "named.png").read_bytes()


def test_damaged_results_stay_as_they_are(run):
    with open("runs/small/results.json", "w") as file:
        file.write("{")
    run("dims", "runs/small", "--name", "size=2")
    with open("runs/small/results.json") as file:
        assert file.read() == "{"


def test_measured_names(run):
    run("dims", "small.safetensors", "--measure")  # random weights: whatever it finds can be used as a name
    for name, dim in idgan.load("small.safetensors", device="cpu").dims.items():
        assert f"dimensions {name} from" in run("traverse", "small.safetensors", "--dims", str(dim))


def test_what_cannot_be_named(fail):
    assert "a run directory or a .safetensors file, and dsprites is neither" in fail(
        "dims", "dsprites", "--name", "a=1"
    )
    Path("runs/small").rename("dsprites")  # its name is still that of the zoo's model
    before = Path("dsprites/model.safetensors").read_bytes()
    assert "dsprites is the zoo's model, unlike ./dsprites" in fail("dims", "dsprites", "--name", "a=1")
    assert Path("dsprites/model.safetensors").read_bytes() == before
    Path("dsprites").rename("runs/small")
    assert "size must be a code dimension from 0 to 2, got 3" in fail("dims", "runs/small", "--name", "size=3")
    assert "is not NAME=DIMENSION, such as smile=3; a name has up to 40 ASCII letters" in fail(
        "dims", "runs/small", "--name", "c3=1", code=2
    )
    assert "given twice" in fail("dims", "runs/small", "--name", "a=1", "--name", "a=2", code=2)


def test_an_edit_by_name(run, fail):
    run("dims", "runs/small", "--name", "size=2")
    assert "edits of dimension size +1" in run("edit", "runs/small", "one.png", "--set", "size=+1")
    assert "must be a name (size)" in fail("edit", "runs/small", "one.png", "--set", "wide=+1")


def test_names_of_attributes(run, fail, tmp_path):
    """Random weights tell bright images from dark ones. They do not tell what is drawn by chance."""
    torch.manual_seed(0)
    bank = Posterior(torch.randn(16, 2), torch.full((16, 2), -2.0))
    config = ModelConfig(VAEConfig(2, 3), ConvGeneratorConfig(2, 1, 3))
    write_checkpoint("faces.safetensors", Sampler(config, bank=bank, info={"name": "faces", "data": "celeba-64"}))
    (tmp_path / "faces").mkdir()
    rows = []
    for i in range(1, 201):
        bright, other = i % 2, i // 2 % 2
        Image.new("RGB", (178, 218), (200 * bright + 20 + i % 7,) * 3).save(tmp_path / f"faces/{i:06d}.jpg")
        rows.append(f"{i:06d}.jpg {2 * bright - 1} {2 * other - 1}")
    (tmp_path / "faces/list_attr_celeba.txt").write_text("\n".join(["200", "Bright Other", *rows]))
    run("prepare", "celeba", "faces", "--out", "prepared")
    run("dims", "faces.safetensors", "--measure", "--data", "prepared")
    (name,) = idgan.load("faces.safetensors", device="cpu").dims
    assert name in ("bright", "not_bright")
    (tmp_path / "prepared/attributes.npy").unlink()
    index = json.loads((tmp_path / "prepared/index.json").read_text())
    del index["attributes"]
    (tmp_path / "prepared/index.json").write_text(json.dumps(index))
    assert "has neither ground-truth factors nor attributes" in fail(
        "dims", "faces.safetensors", "--measure", "--data", "prepared"
    )
