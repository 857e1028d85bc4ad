"""The loop notices a divergence before it can be saved, and records what it should. Resuming: test_resume.py."""

import dataclasses
import re

import pytest
import torch
from safetensors.torch import load_file

from idgan.data import DATASETS, DSprites
from idgan.errors import DivergedError
from idgan.recipes import recipe_of
from idgan.training import train
from idgan.training.checkpoint import step_of


def test_a_divergence_is_an_error_and_the_last_saved_state_is_finite(tmp_path, tiny):
    with pytest.raises(DivergedError) as caught:
        train("dsprites", tmp_path, save_seconds=0.0, **tiny(vae_stage__optimizers__vae__lr=1e6))
    path = tmp_path / "vae" / "state.safetensors"
    step = int(re.search(r"at step (\d+): training has diverged", str(caught.value)).group(1))
    assert str(path) in str(caught.value)
    assert step_of(path) == step - 1 > 0
    assert all(tensor.isfinite().all() for tensor in load_file(path).values() if tensor.is_floating_point())
    assert not (tmp_path / "gan").exists()


def test_a_loss_beyond_reason_stops_at_once(tmp_path, tiny):
    with pytest.raises(DivergedError, match=r"the loss of phase 'vae' is .* at step 1: .*none yet"):
        train("dsprites", tmp_path, **tiny(vae_stage__objective__tc_weight=1e30))
    assert not (tmp_path / "vae" / "state.safetensors").exists()


def test_a_divergence_between_two_records_is_noticed_before_weights_are_judged(tmp_path, tiny):
    with pytest.raises(DivergedError, match="at step 4"):
        train("dsprites", tmp_path, **tiny(vae_stage__optimizers__vae__lr=1e6, vae_stage__select_every=4))


def test_images_that_are_not_numbers_are_a_divergence(tmp_path, tiny, monkeypatch):
    class Broken(DSprites):
        def images(self, indices, generator=None):
            return super().images(indices) * torch.nan

    monkeypatch.setitem(DATASETS, "broken", lambda path=None: Broken())
    with pytest.raises(DivergedError, match="is nan at step 1"):
        train(dataclasses.replace(recipe_of("dsprites"), data="broken"), tmp_path, **tiny())


def test_the_first_and_last_step_are_recorded_with_every_term(finished, log_of):
    first, selection, last = log_of(finished / "vae")
    assert [first["step"], selection["step"], last["step"]] == [1, 8, 12]
    assert first.keys() == last.keys() >= {"reconstruction", "kl", "tc", "vae", "tc_discriminator"}
    assert selection.keys() == {"step", "mig", "fvm", "mig_gaps"}
    first, last = log_of(finished / "gan")
    assert [first["step"], last["step"]] == [1, 12]
    assert first.keys() - last.keys() == {"r1"}  # every third step, from the first
    assert {"discriminator_loss", "generator_loss", "r_id", "discriminator", "generator"} <= last.keys()
