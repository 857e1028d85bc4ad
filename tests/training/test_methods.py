"""Every method of the paper trains to a checkpoint of the one format, and continues from where it was stopped."""

import json

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

import idgan
from idgan.cli import main
from idgan.data import open_dataset
from idgan.errors import InvalidInputError
from idgan.evaluation.measure import METRICS, measure
from idgan.images import save_png
from idgan.recipes import METHODS, apply_method, describe, override, recipe_of
from idgan.training import train
from idgan.training.bundle import command_of, derivation
from idgan.training.distributed import process_group
from idgan.training.estimate import Noise
from idgan.training.run import Run
from idgan.zoo.export import export
from idgan.zoo.weights import golden_differences, part_of, read_checkpoint

JOINT = ("end-to-end", "vae-gan", "gan", "infogan")
UNTRAINED = {"gan": ["encoder", "decoder"], "infogan": ["decoder"]}


def settings_of(tiny, recipe, **more):
    """The tiny settings that `recipe` has."""
    settings = tiny(vae_stage__precision="fp32", gan_stage__precision="fp32", **more)["settings"]
    known = describe(recipe)
    return {path: value for path, value in settings.items() if path in known}


@pytest.fixture(scope="module")
def short(tiny, packages_of, tmp_path_factory):
    """`short(method)`: the directory of two real steps of each of its stages on dSprites. Trained once."""
    runs = {}

    def run(method):
        packages_of(method)
        if method not in runs:
            runs[method] = tmp_path_factory.mktemp("methods") / method
            settings = settings_of(
                tiny, apply_method(recipe_of("dsprites"), method), vae_stage__steps=2, gan_stage__steps=2
            )
            path = train("dsprites", runs[method], method=method, **tiny() | {"settings": settings})
            assert path == runs[method] / "model.safetensors"
        return runs[method]

    return run


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_end_in_a_checkpoint_that_loads_and_says_what_it_is(short, method):
    out = short(method)
    sampler = idgan.load(out, device="cpu")
    assert sampler.sample(n=2, seed=0).shape == sampler.vae.decode(sampler.codes(2, seed=0)[0]).shape == (2, 1, 64, 64)
    assert all(difference < 1e-4 for difference in golden_differences(out / "model.safetensors").values())
    training = sampler.info["training"]
    assert (sampler.info["name"], training["method"], training["untrained"]) == (
        "dsprites",
        method,
        UNTRAINED.get(method, []),
    )
    stages = apply_method(recipe_of("dsprites"), method).stages
    assert training["steps"] == dict.fromkeys(stages, 2)
    assert training["wall_time_seconds"] >= 0
    assert sorted(path.parent.name for path in out.glob("*/state.safetensors")) == sorted(stages)
    assert {"samples.png", "traversals.png"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize("method", METHODS)
def test_the_command_of_a_method_leads_to_the_same_recipe(short, method):
    training = read_checkpoint(short(method) / "model.safetensors").info["training"]
    command, *changes = training["command"].split(" --set ")
    expected = "runs/dsprites" if method == "id-gan" else f"runs/dsprites-{method}"
    assert (
        command == "idgan train dsprites " + ("" if method == "id-gan" else f"--method {method} ") + f"--out {expected}"
    )
    made = override(apply_method(recipe_of("dsprites"), method), dict(change.split("=") for change in changes))
    assert describe(made) == training["settings"] == json.loads((short(method) / "recipe.json").read_text())


def test_the_recipe_of_a_run_tells_methods_apart(short):
    recipes = [(short(method) / "recipe.json").read_text() for method in METHODS]
    assert len(set(recipes)) == len(METHODS)


@pytest.mark.parametrize(
    "method", ["vae-gan", "vae", "beta-vae", "capacity-vae", "factor-vae", "beta-tcvae", "growing-vae"]
)
def test_where_the_decoder_is_the_generator_they_draw_the_same(short, method):
    """But for VAE-GAN's, whose generator is a moving average of the decoder."""
    sampler = idgan.load(short(method), device="cpu")
    c, s = sampler.codes(4, seed=0)
    difference = (sampler.sample(c, s) - sampler.decode(c)).abs().max()
    assert s.shape == (4, 0)
    assert (0 < difference < 0.05) if method == "vae-gan" else difference < 1e-5


@pytest.mark.parametrize(
    ("method", "prior"),
    [("gan", "normal"), ("infogan", "normal"), ("end-to-end", "aggregated"), ("vae-gan", "aggregated")],
)
def test_a_sampler_draws_codes_from_where_training_drew_them(short, method, prior):
    sampler = idgan.load(short(method), device="cpu")
    assert len(sampler.bank) == {"normal": 1, "aggregated": 16}[prior]
    assert (sampler.bank.kl().abs().max() == 0) == (prior == "normal")


def test_which_networks_a_joint_method_has_moved(short, tiny, tmp_path):
    """Against the same recipe's initial weights."""
    for method in JOINT:
        recipe = apply_method(recipe_of("dsprites"), method)
        with process_group("cpu") as group:
            before = Run(recipe, tmp_path / method, open_dataset("dsprites"), group).vae.state_dict()
        after = part_of(load_file(short(method) / "model.safetensors"), "vae.")
        changed = {name.split(".")[0] for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        assert changed == {"encoder", "decoder"} - set(UNTRAINED.get(method, []))


@pytest.mark.parametrize("method", ["cgan", "end-to-end", "vae-gan", "gan", "infogan", "beta-vae"])
def test_a_method_continues_with_the_same_bits(short, tiny, method, tmp_path):
    recipe = apply_method(recipe_of("dsprites"), method)
    for steps in (1, 2):  # of the last stage
        first = {"vae_stage__steps": 2} if len(recipe.stages) > 1 else {"vae_stage__steps": steps}
        settings = settings_of(tiny, recipe, gan_stage__steps=steps, **first)
        train("dsprites", tmp_path / "run", method=method, **tiny() | {"settings": settings})
    states = [path.relative_to(tmp_path / "run") for path in (tmp_path / "run").glob("*/state.safetensors")]
    assert states
    for name in (*states, "model.safetensors"):
        ours, theirs = load_file(tmp_path / "run" / name), load_file(short(method) / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[key]) for key, tensor in ours.items()), name


def test_a_finished_stage_1_serves_another_method_of_two_stages(short, tiny, tmp_path):
    settings = settings_of(tiny, apply_method(recipe_of("dsprites"), "cgan"), gan_stage__steps=1)
    path = train("dsprites", tmp_path / "run", method="cgan", vae=short("id-gan"), **tiny() | {"settings": settings})
    info = read_checkpoint(path).info["training"]
    assert f"--method cgan --out runs/dsprites-cgan --vae {short('id-gan').name}" in info["command"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "stylegan"}, "no method is called 'stylegan'"),
        ({"method": "gan", "stage": "vae"}, "this method has no stage 'vae'; its only stage is 'gan'"),
        ({"method": "beta-vae", "stage": "gan"}, "this method has no stage 'gan'; its only stage is 'vae'"),
        ({"method": "gan", "vae": "dsprites"}, "the VAE dsprites replaces stage 1, but this method has no stage 2"),
        ({"method": "gan", "settings": {"vae_stage.steps": 3}}, "no setting 'vae_stage.steps'"),
        (
            {"method": "vae-gan", "recipe": "celeba-128"},
            "method 'vae-gan' generates 64x64 images; recipe celeba-128 needs 128x128",
        ),
    ],
)
def test_what_a_method_does_not_have_is_refused_and_makes_no_directory(tmp_path, arguments, says):
    with pytest.raises(InvalidInputError, match=says):
        train(**{"recipe": "dsprites", "out": tmp_path / "run", "device": "cpu"} | arguments)
    assert not (tmp_path / "run").exists()


def test_an_untrained_encoder_is_not_taken_for_stage_2(short, tiny, tmp_path):
    with pytest.raises(
        InvalidInputError, match=r"the encoder of .*gan is untrained, because method 'gan' does not train it"
    ):
        train("dsprites", tmp_path / "run", vae=short("gan"), **tiny())


def test_what_is_untrained_is_not_measured(short):
    sampler, source = idgan.load(short("gan"), device="cpu"), open_dataset("dsprites")
    for metric, part in ("mig", "encoder"), ("r_id", "encoder"), ("fid-decoder", "decoder"):
        with pytest.raises(InvalidInputError, match=f"{metric} measures the {part}, which method 'gan' does not train"):
            list(measure(sampler, source, [metric], progress=False))
    measured = list(measure(sampler, source, samples=32, progress=False))
    assert [result.name for result in measured] == ["FD-dsprites-convnet"]
    assert METRICS["gilbo"].part is None  # it trains an encoder of its own


def test_what_is_untrained_is_not_served(short, tmp_path, monkeypatch):
    sampler = idgan.load(short("gan"), device="cpu")
    assert sampler.untrained == ("encoder", "decoder")
    x, c = sampler.sample(n=2, seed=0), sampler.codes(2, seed=0)[0]
    for serve in (
        sampler.posterior,
        sampler.encode,
        sampler.reconstruct,
        sampler.invert,
        lambda x: sampler.edit(x, {0: 1.0}),
    ):
        with pytest.raises(
            InvalidInputError,
            match="the encoder of this model has not been trained: method 'gan' does not use it",
        ):
            serve(x)
    with pytest.raises(InvalidInputError, match="the decoder of this model has not been trained: method 'gan'"):
        sampler.decode(c)
    with pytest.raises(InvalidInputError, match="the encoder of this model"):
        export(sampler, tmp_path / "encoder.pt2", part="encoder", format="exported-program")
    monkeypatch.chdir(tmp_path)
    save_png(x[0], "one.png")
    for command in ("encode",), ("reconstruct",), ("edit", "--set", "0=1"):
        result = CliRunner().invoke(main, [command[0], str(short("gan")), "one.png", *command[1:]])
        assert result.exit_code == 1 and result.output.startswith(
            "Error: the encoder of this model has not been trained"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["one.png"]


def test_an_encoder_is_served_without_its_untrained_decoder(short, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sampler = idgan.load(short("infogan"), device="cpu")
    x = sampler.sample(n=2, seed=0)
    assert torch.equal(sampler.encode(x), sampler.vae.encode(x).mean)
    save_png(x[0], "one.png")
    result = CliRunner().invoke(main, ["reconstruct", str(short("infogan")), "one.png", "--out", "two.png"])
    assert result.exit_code == 0 and "PSNR generator " in result.output
    assert export(sampler, tmp_path / "encoder.pt2", part="encoder", format="exported-program")["bytes"] > 1000


@pytest.mark.parametrize("method", ["gan", "infogan", "id-gan"])
def test_pictures_have_a_panel_of_the_decoder_if_it_is_trained(short, method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panels, out = 1 + (method == "id-gan"), short(method)
    with Image.open(out / "samples.png") as made, Image.open(out / "traversals.png") as traversals:
        assert made.width == panels * 1042 + 8 * (panels + 1)
        assert panels * 912 < traversals.width < panels * 912 + 150  # names of the dimensions are on the left
    for option, decoder in (
        ((), "; left: generator, right: VAE decoder"),
        (("--grid",), "; left: VAE decoder"),
    ):
        result = CliRunner().invoke(main, ["sample", str(out), "--seeds", "0-3", *option])
        assert result.exit_code == 0 and (decoder in result.output) == (method == "id-gan")
    result = CliRunner().invoke(main, ["traverse", str(out), "--dims", "0", "--steps", "2"])
    assert result.exit_code == 0 and ("VAE decoder" in result.output) == (method == "id-gan")


def test_a_recipe_that_is_no_method_still_has_a_command():
    recipe = override(recipe_of("dsprites"), {"gan_stage.objective.id_weight": 0.0, "seed": 2})
    assert derivation(recipe) == ("without-distillation", {"seed": 2})
    assert (
        command_of(recipe)
        == "idgan train dsprites --method without-distillation --out runs/dsprites-without-distillation --set seed=2"
    )


# ------------------------------------------------------------------ natural images


@pytest.mark.parametrize(
    ("name", "method"),
    [("celeba-64", method) for method in ("cgan", "end-to-end", "vae-gan", "gan", "infogan", "vae")]
    + [("celeba-128", "cgan"), ("celeba-128", "gan"), ("celeba-256", "infogan")],
)
def test_the_resnet_family_has_these_methods(tmp_path, name, method):
    recipe = apply_method(recipe_of(name), method)
    known = describe(recipe)
    width = {"base_width": 2, "max_width": 4}
    shapes = {
        f"{part}.{key}": value
        for part in ("vae", "generator", "discriminator", "discriminator.network")
        for key, value in width.items()
    } | {"discriminator.features": 4 * 16}  # of the head on the encoder's last 4x4 map
    sizes = {f"{stage}_stage.{key}": 2 for stage in recipe.stages for key in ("steps", "batch_size")}
    recipe = override(
        recipe, {path: value for path, value in (shapes | sizes | {"bank_size": 4}).items() if path in known}
    )
    with process_group("cpu") as group:
        run = Run(recipe, tmp_path / "run", Noise(recipe_of(name)), group, progress=False)
        if "vae" in recipe.stages:
            run.train_vae()
        run.take_vae()
        if "gan" in recipe.stages:
            run.train_gan()
    last = json.loads((run.out / [*recipe.stages][-1] / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 2
    assert all(abs(value) < 1e6 for value in last.values())
    resolution = recipe.generator.resolution
    assert run.sampler(bank_size=2).sample(n=1, seed=0).shape == (1, 3, resolution, resolution)
    picture = run.picture()
    sides = picture.shape[-2:] if torch.is_tensor(picture) else picture.size  # a tensor without a decoder
    assert min(sides) > 64
    if method in ("gan", "cgan"):  # 32 images in 6 columns, and the decoder's of the same codes if it is trained
        assert picture.width == {"gan": 782 + 2 * 8, "cgan": 2 * 782 + 3 * 8}[method]
