"""What a run directory accepts, refuses and keeps."""

import importlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from idgan.data import DSprites
from idgan.errors import InvalidInputError, RunError, RunMismatchError, UnknownModelError
from idgan.images import save_png
from idgan.recipes import override, recipe_of
from idgan.record import OLD_SETTINGS
from idgan.training import train
from idgan.training.checkpoint import load_state, save_state, step_of
from idgan.training.distributed import process_group
from idgan.training.run import Run
from idgan.zoo.weights import read_checkpoint


@pytest.fixture
def copied(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"gan_stage__objective__id_weight": 0.5}, "gan_stage.objective.id_weight: 0.002 stored, 0.5 now"),
        ({"vae_stage__precision": "fp32"}, "vae_stage.precision: 'bf16' stored, 'fp32' now"),
        ({"seed": 1, "bank_size": 17}, "bank_size: 16 stored, 17 now; seed: 0 stored, 1 now"),
        ({"gan_stage__steps": 5}, "gan_stage.steps: 12 stored, 5 now"),
        ({"vae_stage__steps": 16, "gan_stage__steps": 16}, "vae_stage.steps: 12 stored, 16 now"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(copied, tiny, fingerprint, more, says):
    before = fingerprint(copied)
    with pytest.raises(RunMismatchError) as caught:
        train("dsprites", copied, **tiny(**{"vae_stage__select_every": 8} | more))
    assert f"({says})" in str(caught.value)
    assert str(copied) in str(caught.value)
    assert fingerprint(copied) == before


def test_a_setting_that_a_run_was_begun_before_has_its_default(copied, tiny):
    path = copied / "recipe.json"
    settings = json.loads(path.read_text())
    del settings["vae_stage.accumulation_steps"], settings["gan_stage.accumulation_steps"]
    path.write_text(json.dumps(settings))
    with pytest.raises(RunMismatchError, match=r"\(vae_stage\.accumulation_steps: 1 stored, 2 now\)"):
        train("dsprites", copied, **tiny(vae_stage__select_every=8, vae_stage__accumulation_steps=2))
    train("dsprites", copied, **tiny(vae_stage__select_every=8))


def test_a_run_of_an_older_version_continues_to_the_same_bits(copied, finished, tiny, same_run):
    """Its settings have their old names."""
    path = copied / "recipe.json"
    old_names = {new: old for old, new in OLD_SETTINGS.items()}
    settings = {
        ".".join(old_names.get(part, part) for part in name.split(".")): value
        for name, value in json.loads(path.read_text()).items()
    }
    old = {"vae_stage.accumulate", "gan_stage.objective.r1_every", "gan_stage.dequantise", "vae_from"}
    assert old <= settings.keys()
    path.write_text(json.dumps(settings))
    (copied / "model.safetensors").unlink()
    train("dsprites", copied, **tiny(vae_stage__select_every=8))
    same_run(copied, finished)
    assert "gan_stage.objective.r1_interval" in json.loads(path.read_text())


def test_steps_that_were_planned_but_not_done_may_shrink(tmp_path, tiny):
    out = tmp_path / "run"
    train("dsprites", out, stage="vae", **tiny(vae_stage__steps=2))
    with pytest.raises(RunError, match="at step 2 of 9; finish it first"):
        train("dsprites", out, stage="gan", **tiny(vae_stage__steps=9))
    train("dsprites", out, stage="gan", **tiny(vae_stage__steps=2, gan_stage__steps=1))
    assert (out / "model.safetensors").exists()


def test_stage_2_may_be_set_otherwise_until_it_has_begun(tmp_path, tiny):
    out = tmp_path / "run"
    train("dsprites", out, stage="vae", **tiny(vae_stage__steps=1))
    with pytest.raises(RunMismatchError, match=r"vae_stage\.objective\.inactive_kl"):
        train("dsprites", out, **tiny(vae_stage__steps=1, vae_stage__objective__inactive_kl=1.0))
    train("dsprites", out, **tiny(vae_stage__steps=1, gan_stage__steps=1, gan_stage__objective__id_weight=0.5))
    with pytest.raises(RunMismatchError, match=r"gan_stage\.objective\.id_weight: 0\.5 stored, 0\.25 now"):
        train("dsprites", out, **tiny(vae_stage__steps=1, gan_stage__steps=1, gan_stage__objective__id_weight=0.25))


def test_a_run_from_a_narrower_generator_draws_its_images_and_continues_to_the_same_bits(tmp_path, tiny):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        save_png(torch.rand(3, 64, 64), folder / f"{number}.png")

    def run(name, width, steps, **more):
        settings = {"generator__base_width": width, "discriminator__base_width": 2, "gan_stage__steps": steps} | more
        options = tiny(data="folder", vae_stage__steps=1, vae_stage__select_every=0, **settings)
        train("celeba-64-w16", tmp_path / name, data=folder, **options)
        return tmp_path / name

    narrow = run("narrow", 2, 1)
    for steps in (1, 2):
        parts = run("parts", 4, steps, init_generator_from=str(narrow))
    whole = run("whole", 4, 2, init_generator_from=str(narrow))
    ours, theirs = (load_file(out / "model.safetensors") for out in (parts, whole))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    still = {"gan_stage__optimizers__generator__lr": 1e-12, "gan_stage__ema_decay": 0.0}
    wide = run("still", 4, 1, init_generator_from=str(narrow), **still)
    code = torch.randn(3, 276, generator=torch.Generator().manual_seed(0))
    ours, theirs = (read_checkpoint(out / "model.safetensors").generator(code) for out in (wide, narrow))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_a_run_goes_on_with_the_data_it_began_with_only(tmp_path, tiny, fingerprint):
    ours, others = tmp_path / "ours", tmp_path / "others"
    for folder in (ours, others):
        folder.mkdir()
        for number in range(4):
            save_png(torch.rand(3, 64, 64), folder / f"{number}.png")
    more = tiny(data="folder", vae_stage__steps=1, gan_stage__steps=1, vae_stage__select_every=0)
    out = tmp_path / "run"
    train("celeba-64-w16", out, stage="vae", data=ours, **more)
    before = fingerprint(out / "vae")
    with pytest.raises(RunMismatchError, match=r"vae/state\.safetensors belongs to another run \(data: "):
        train("celeba-64-w16", out, data=others, **more)
    assert fingerprint(out / "vae") == before
    train("celeba-64-w16", out, data=ours, **more)
    training = read_checkpoint(out / "model.safetensors").info["training"]
    assert training["data"] == "ours"
    assert "--data ours " in training["command"]  # a private path stays private
    assert str(tmp_path) not in json.dumps(training)


def test_stage_2_refuses_an_encoder_it_did_not_begin_with(tmp_path, tiny):
    for seed, run in enumerate(("one", "two")):
        train("dsprites", tmp_path / run, stage="vae", **tiny(vae_stage__steps=1, seed=seed))
    out, more = tmp_path / "run", tiny(gan_stage__steps=1)
    train("dsprites", out, vae=tmp_path / "one", **more)
    with pytest.raises(RunMismatchError, match=r"holds a run with other settings \(vae_sha256: "):
        train("dsprites", out, vae=tmp_path / "two", **more)


def test_stage_2_waits_for_stage_1(tmp_path, tiny):
    with pytest.raises(RunError, match=r"stage 1 in .* is at step 0 of 12; finish it first"):
        train("dsprites", tmp_path / "run", stage="gan", **tiny())


def test_a_directory_of_something_else_is_refused(tmp_path, tiny, fingerprint):
    (tmp_path / "thesis.txt").write_text("dear to someone")
    before = fingerprint(tmp_path)
    with pytest.raises(RunError, match="neither empty nor a run"):
        train("dsprites", tmp_path, **tiny())
    assert fingerprint(tmp_path) == before


def test_what_a_kill_before_the_first_write_leaves_is_not_something_else(tmp_path, tiny):
    (tmp_path / ".recipe.json.0123abcd.tmp").write_text('{"half')
    assert train("dsprites", tmp_path, stage="vae", **tiny(vae_stage__steps=1)) == tmp_path


def test_a_damaged_state_is_named(copied, tiny, fingerprint):
    path = copied / "gan" / "state.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    before = fingerprint(copied)
    with pytest.raises(RunError, match=r"gan/state\.safetensors is not a training state"):
        train("dsprites", copied, **tiny(vae_stage__select_every=8))
    assert fingerprint(copied) == before


@pytest.mark.parametrize("stage", ["vae", "gan"])
@pytest.mark.parametrize("lacking", ["identity", "best", "objective", "seconds"])
def test_a_state_that_lacks_something_is_named(copied, tiny, stage, lacking):
    path = copied / stage / "state.safetensors"
    state = load_state(path)
    save_state(path, {name: value for name, value in state.items() if name != lacking})
    with pytest.raises(RunError, match=rf"{stage}/state\.safetensors is no state of this stage .*; delete it"):
        train("dsprites", copied, **tiny(vae_stage__select_every=8))


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff\xfe", b'"text"'])
def test_damaged_settings_are_named(copied, tiny, content):
    (copied / "recipe.json").write_bytes(content)
    with pytest.raises(RunError, match=r"recipe\.json holds no settings of a run .*; choose another directory"):
        train("dsprites", copied, **tiny(vae_stage__select_every=8))


def test_a_directory_that_cannot_be_made_is_refused_before_the_data_is_opened(tmp_path, tiny, monkeypatch):
    (tmp_path / "notes").write_text("dear to someone")
    module = importlib.import_module("idgan.training.entry")  # as an attribute, it is the function
    monkeypatch.setattr(module, "open_dataset", lambda *arguments: pytest.fail("opened"))
    for out in (tmp_path / "notes", tmp_path / "notes" / "run" / "deeper"):
        with pytest.raises(RunError, match=r"cannot be a run directory, because .*notes is a file"):
            train("dsprites", out, **tiny())


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"recipe": "dsprite"}, UnknownModelError, "dsprites"),
        ({"stage": "both"}, InvalidInputError, "all, vae or gan, got 'both'"),
        ({"settings": {"gan_stage.objective.lambda": 1.0}}, InvalidInputError, "id_weight"),
        ({"settings": {"gan_stage.select_every": 5}}, InvalidInputError, "select_every must be 0"),
        (
            {"settings": {"gan_stage.ema_decay": "1.5"}},
            InvalidInputError,
            "ema_decay must be 0 or more and less than 1, got 1.5",
        ),
        ({"settings": {"vae_stage.optimizers.vae.lr": -1}}, InvalidInputError, "lr must be more than 0, got -1"),
        (
            {"settings": {"vae_stage.objective.phases.2.beta_end": "-3"}},
            InvalidInputError,
            "beta_end must be 0 or more, got -3",
        ),
        (
            {"settings": {"gan_stage.objective.id_weight": -1.0}},
            InvalidInputError,
            "id_weight must be 0 or more, got -1",
        ),
        (
            {"settings": {"gan_stage.objective.r1_weight": -1.0}},
            InvalidInputError,
            "r1_weight must be 0 or more, got -1",
        ),
        (
            {"settings": {"seed": -1}},
            InvalidInputError,
            "seed must be an integer from 0 to 18446744073709551615, got -1",
        ),
        ({"settings": {"seed": 2**64}}, InvalidInputError, "from 0 to 18446744073709551615, got 18446744073709551616"),
        (
            {"settings": {"gan_stage.accumulation_steps": 5}},
            InvalidInputError,
            "64 cannot be shared equally by 1 processes in 5 parts each",
        ),
    ],
)
def test_bad_arguments_make_no_directory(tmp_path, arguments, error, says):
    with pytest.raises(error, match=says):
        train(**{"recipe": "dsprites", "out": tmp_path / "run", "device": "cpu"} | arguments)
    assert not (tmp_path / "run").exists()


def test_selection_needs_factors(tmp_path):
    class Plain(DSprites):
        factors = None

        def __len__(self):
            return 10

    with process_group("cpu") as group, pytest.raises(InvalidInputError, match="ground-truth factors"):
        Run(recipe_of("dsprites"), tmp_path / "run", Plain(), group)


def test_without_a_selection_stage_1_hands_on_its_last_weights(tmp_path, tiny):
    path = train("dsprites", tmp_path, **tiny(vae_stage__steps=2, vae_stage__select_every=1000, gan_stage__steps=1))
    model, state = load_file(path), load_file(tmp_path / "vae" / "state.safetensors")
    vae = {name.removeprefix("vae."): tensor for name, tensor in model.items() if name.startswith("vae.")}
    assert all(torch.equal(tensor, state[f"/objective/vae.{name}"]) for name, tensor in vae.items())


def weights_of(run):
    return torch.cat(
        [
            parameter.flatten()
            for network in (run.vae, run.generator, run.discriminator)
            for parameter in network.parameters()
        ]
    )


def test_initial_weights_are_a_function_of_the_seed(tmp_path):
    def run(seed):
        torch.rand(seed + 1)  # whatever the caller's generator has done
        with process_group("cpu") as group:
            return Run(override(recipe_of("dsprites"), {"seed": seed}), tmp_path / str(seed), DSprites(), group)

    assert torch.equal(weights_of(run(0)), weights_of(run(0)))
    assert not torch.equal(weights_of(run(0)), weights_of(run(1)))


def test_training_leaves_the_callers_generator_alone(tmp_path, tiny):
    before = torch.get_rng_state()
    train("dsprites", tmp_path, stage="vae", **tiny(vae_stage__steps=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_sampler_of_a_run_is_a_copy_and_leaves_its_networks_trainable(tmp_path):
    with process_group("cpu") as group:
        run = Run(recipe_of("dsprites"), tmp_path / "run", DSprites(), group)
    sampler = run.sampler(bank_size=4)
    before = weights_of(run).clone()
    for parameter in sampler.parameters():
        parameter.zero_()
    assert torch.equal(weights_of(run), before)
    assert all(parameter.requires_grad for network in (run.vae, run.generator) for parameter in network.parameters())
    assert len(sampler.bank) == 4
    assert step_of(run.out / "vae" / "state.safetensors") == 0
