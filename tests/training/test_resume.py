"""Interrupted anywhere and started again by the same call, a run ends with the same bits."""

import dataclasses
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from idgan.data import DSprites
from idgan.errors import RunMismatchError
from idgan.networks import VAEConfig
from idgan.objectives import BetaTCVAEConfig, BetaVAEConfig, FactorVAEConfig
from idgan.recipes import Adam, RMSprop, Stage, recipe_of
from idgan.training import train
from idgan.training.checkpoint import step_of
from idgan.training.loop import _Signals


@dataclasses.dataclass(frozen=True)
class DropoutVAEConfig(VAEConfig):
    def build(self):
        vae = super().build()
        vae.encoder.append(nn.Dropout(0.5))
        return vae


def test_a_network_with_dropout_continues_with_the_same_bits(tiny, tmp_path):
    recipe = dataclasses.replace(
        recipe_of("color-dsprites"),
        vae=DropoutVAEConfig(image_channels=3),
        vae_stage=Stage(objective=BetaVAEConfig(), optimizers={"vae": Adam(5e-4)}, steps=4),
    )
    for run, steps in (("resumed", 2), ("resumed", 4), ("whole", 4)):
        train(recipe, tmp_path / run, stage="vae", **tiny(vae_stage__steps=steps))
    ours, theirs = (load_file(tmp_path / run / "vae" / "state.safetensors") for run in ("resumed", "whole"))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bits(finished, tiny, same_run, tmp_path):
    out = tmp_path / "run"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["idgan.training"])
    kills = 0
    # Early, around the selection at step 8, after it, and in stage 2; each time a little later by chance.
    for stage, step in ("vae", 1), ("vae", 7), ("vae", 9), ("gan", 1), ("gan", 9):
        process = processes.Process(
            target=train, args=("dsprites", out), kwargs=tiny(vae_stage__select_every=8) | {"save_seconds": 0.0}
        )
        process.start()
        while (
            process.is_alive() and step_of(out / stage / "state.safetensors") < step
        ):  # also: a reader never meets half a file
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
    assert kills >= 3  # a slow look may come after the end, but not often
    train("dsprites", out, **tiny(vae_stage__select_every=8))
    same_run(out, finished)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)])
def test_a_signal_saves_says_so_and_the_same_call_continues(finished, tiny, same_run, tmp_path, number, error):
    """The run is stopped in stage 2, on top of the finished run's stage 1."""
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "model.safetensors").unlink()
    shutil.rmtree(out / "gan")
    log = out / "gan" / "log.jsonl"

    def interrupt():
        while not log.exists() or not log.read_text():  # the first step is logged
            time.sleep(0.001)
        os.kill(os.getpid(), number)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    threading.Thread(target=interrupt).start()
    with pytest.raises(error, match=r"stopped at step \d+; the same command continues"):
        train(
            "dsprites", out, save_seconds=0.0, **tiny(vae_stage__select_every=8)
        )  # saving leaves the signal time to come
    assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    assert 1 <= step_of(out / "gan" / "state.safetensors") < 12
    assert not (out / "model.safetensors").exists()
    train("dsprites", out, **tiny(vae_stage__select_every=8))
    same_run(out, finished)


@pytest.fixture
def interruptible():
    """SIGINT as a terminal has it; a shell makes its background jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_acts_as_usual(interruptible):
    with _Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_finished_run_is_not_repeated(finished, tiny, fingerprint, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    stages = {path: mark for path, mark in fingerprint(out).items() if path.endswith("state.safetensors")}
    train("dsprites", out, **tiny(vae_stage__select_every=8))
    assert stages.items() <= fingerprint(out).items()


def stages(objective, optimizers):
    return Stage(objective, optimizers, steps=1, batch_size=4)


def test_a_data_set_that_streams_and_batches_in_parts_end_with_the_same_bits(tmp_path, tiny):
    """Continued or not, read ahead or not."""

    class Streaming(DSprites):
        stochastic, streams = False, True

    def run(out, data, gan_steps):
        more = {
            "vae_stage__steps": 2,
            "gan_stage__steps": gan_steps,
            "vae_stage__accumulation_steps": 2,
            "gan_stage__accumulation_steps": 4,
        }
        train(dataclasses.replace(recipe_of("dsprites"), data=data), tmp_path / out, **tiny(**more))
        return load_file(tmp_path / out / "gan" / "state.safetensors")

    run("parts", Streaming(), 2)
    parts, whole, in_memory = (
        run("parts", Streaming(), 5),
        run("whole", Streaming(), 5),
        run("in_memory", "dsprites", 5),
    )
    for other in (whole, in_memory):
        assert parts.keys() == other.keys()
        assert all(torch.equal(parts[name], other[name]) for name in parts)


@pytest.mark.parametrize(
    "stage",
    [
        stages(BetaVAEConfig(), {"vae": Adam()}),
        stages(BetaTCVAEConfig(), {"vae": RMSprop()}),
        stages(FactorVAEConfig(), {"vae": Adam(), "tc_discriminator": Adam(beta1=0.5)}),
    ],
    ids=lambda stage: type(stage.objective).__name__,
)
def test_a_longer_run_continues_a_shorter_one(tmp_path, stage):
    """Every objective and optimizer, with every kind of noise."""

    def run(out, steps):
        recipe = dataclasses.replace(
            recipe_of("dsprites"), vae_stage=dataclasses.replace(stage, steps=steps, flip=True, dequantize=True)
        )
        train(recipe, tmp_path / out, stage="vae", device="cpu", threads=1, progress=False)
        return load_file(tmp_path / out / "vae" / "state.safetensors")

    run("parts", 2)
    parts, whole = run("parts", 5), run("whole", 5)
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_a_cooldown_may_be_added_before_it_begins_and_not_changed_later(tmp_path, tiny):
    def run(out, **more):
        more = {f"vae_stage__{name}": value for name, value in more.items()}
        train("dsprites", tmp_path / out, stage="vae", **tiny(**more))
        return load_file(tmp_path / out / "vae" / "state.safetensors")

    run("parts", steps=3)
    run("parts", steps=4, cooldown_steps=1)  # nothing is left of this plan but a step at the full rate
    with pytest.raises(RunMismatchError, match=r"cooldown_steps: 1 stored, 3 now"):
        run("parts", steps=7, cooldown_steps=3)
    run("others", steps=3)
    others, whole = run("others", steps=6, cooldown_steps=3), run("whole", steps=6, cooldown_steps=3)
    assert all(torch.equal(others[name], whole[name]) for name in whole)
    with pytest.raises(RunMismatchError, match=r"steps: 6 stored, 9 now"):
        run("whole", steps=9, cooldown_steps=3)
    constant = run("constant", steps=6)
    assert any(not torch.equal(constant[name], whole[name]) for name in whole)


def test_stage_2_with_rmsprop_and_without_moving_average_continues_too(finished, tmp_path, tiny):
    recipe = recipe_of("dsprites")
    recipe = dataclasses.replace(
        recipe,
        gan_stage=dataclasses.replace(
            recipe.gan_stage, optimizers={"discriminator": RMSprop(), "generator": RMSprop(1e-3)}
        ),
    )

    def run(out, steps):
        options = tiny(
            vae_stage__steps=2, gan_stage__steps=steps, gan_stage__ema_decay=0.0, gan_stage__precision="fp32"
        )
        path = train(recipe, tmp_path / out, **options)
        with safe_open(path, framework="pt") as file:
            made = {name: file.get_tensor(name) for name in file.keys() if name.startswith("generator.")}  # noqa: SIM118
        return load_file(tmp_path / out / "gan" / "state.safetensors"), made

    run("parts", 2)
    (parts, _), (whole, made) = run("parts", 5), run("whole", 5)
    assert parts.keys() == whole.keys()
    assert all(torch.equal(parts[name], whole[name]) for name in whole)
    assert all(torch.equal(tensor, whole[f"/objective/{name}"]) for name, tensor in made.items())
