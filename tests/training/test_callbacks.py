"""Callbacks hear of every step. They change no bit of the run, and one that fails loses nothing."""

import re
from pathlib import Path

import pytest
import torch

import idgan.progress
from idgan.errors import InvalidInputError
from idgan.training import Callback, train
from idgan.training.checkpoint import step_of


class Listener(Callback):
    """Keeps what it hears, and draws random numbers, which must not matter. Raises `error` at step `at` of `stage`."""

    def __init__(self, stage="gan", at=None, error=None):
        self.heard = []
        self.stage, self.at, self.error = stage, at, error

    def on_stage_start(self, stage, step, steps):
        self.now = stage
        self.heard.append((stage, step, steps))

    def on_step(self, step, losses):
        torch.rand(3)
        self.heard.append((step, dict(losses)))
        if (self.now, step) == (self.stage, self.at):
            raise self.error

    def on_stage_end(self, stage, directory):
        assert step_of(directory / "state.safetensors") == 12
        self.heard.append((stage, Path(directory).name))


def test_a_callback_hears_of_every_step_and_changes_no_bit(tmp_path, tiny, finished, same_run, log_of):
    listener, out = Listener(), tmp_path / "run"
    train("dsprites", out, callbacks=[listener, Callback()], **tiny(vae_stage__select_every=8))
    same_run(out, finished)
    heard = iter(listener.heard)
    for stage in "vae", "gan":
        recorded = {record["step"]: record for record in log_of(out / stage) if record["step"] != 8}  # 8: a selection
        assert set(recorded) == {1, 12}
        assert next(heard) == (stage, 0, 12)
        for step in range(1, 13):
            number, losses = next(heard)
            assert number == step
            assert ({"step": step} | losses if losses else {}) == recorded.get(step, {})
        assert next(heard) == (stage, stage)
    assert list(heard) == []


class Unplugged(Exception):
    pass


@pytest.mark.parametrize("error", [Unplugged("the tracker is gone"), SystemExit("enough")], ids=["error", "exit"])
def test_a_callback_that_fails_ends_the_run_with_its_state_saved(tmp_path, tiny, finished, same_run, error):
    out, options = tmp_path / "run", tiny(vae_stage__select_every=8)
    never_asked = Listener()
    with pytest.raises(type(error)) as caught:
        train("dsprites", out, callbacks=[Listener("gan", 5, error), never_asked], **options)
    assert caught.value is error
    assert step_of(out / "gan" / "state.safetensors") == 5
    assert never_asked.heard[-1][0] == 4
    train("dsprites", out, callbacks=[after := Listener()], **options)
    assert after.heard[:3] == [("vae", 12, 12), ("vae", "vae"), ("gan", 5, 12)]
    same_run(out, finished)


def test_only_objects_of_callback_classes_are_accepted_before_anything_is_written(tmp_path, tiny):
    for wrong in (print, Listener):
        with pytest.raises(InvalidInputError, match=r"callbacks\[1\] must be an object of a class that inherits"):
            train("dsprites", tmp_path / "run", callbacks=[Callback(), wrong], **tiny())
    assert not (tmp_path / "run").exists()


def test_log_lines_without_a_terminal_have_step_rate_and_time_left(tmp_path, tiny, monkeypatch, capfd):
    monkeypatch.setattr(idgan.progress, "LOG_INTERVAL", 0.0)
    train("dsprites", tmp_path / "run", stage="vae", **tiny() | {"progress": True})
    lines = capfd.readouterr().err.splitlines()
    pattern = r"dsprites vae: \d+/12 step \[[\d:]+ elapsed, [\d:?]+ left, +[\d.?]+ ?(step/s|s/step).*kl="
    assert [line for line in lines if re.match(pattern, line)], lines
