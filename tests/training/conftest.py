"""Tiny real runs, and a tiny real data set, for the tests of training."""

import dataclasses
import hashlib
import json

import pytest
import torch
from bands import bands, perfect  # noqa: F401
from safetensors.torch import load_file

from idgan.recipes import recipe_of
from idgan.training import train

TINY = {
    "vae_stage.steps": 12,
    "vae_stage.batch_size": 4,
    "vae_stage.select_every": 0,
    "gan_stage.steps": 12,
    "gan_stage.batch_size": 4,
    "gan_stage.objective.r1_interval": 3,
    "gan_stage.ema_decay": 0.9,
    "bank_size": 16,
}
OPTIONS = {"device": "cpu", "threads": 1, "progress": False, "measure": False}


@pytest.fixture(scope="session")
def tiny():
    """`tiny(**more)`: keyword arguments of `train` for a run of seconds; `more` settings are named with __ for dots."""

    def arguments(**more):
        return {"settings": TINY | {name.replace("__", "."): value for name, value in more.items()}, **OPTIONS}

    return arguments


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """The directory of a tiny run of both stages with a selected encoder. Copy it before changing it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    train("dsprites", out, **tiny(vae_stage__select_every=8))
    return out


@pytest.fixture(scope="session")
def same_run():
    """`same_run(a, b)`: assert that two run directories hold the same logs and the same bits in every tensor."""

    def check(a, b):
        for name in ("vae/log.jsonl", "gan/log.jsonl"):
            assert (a / name).read_text() == (b / name).read_text(), name
        for name in ("vae/state.safetensors", "gan/state.safetensors", "model.safetensors"):
            ours, theirs = load_file(a / name), load_file(b / name)
            assert ours.keys() == theirs.keys()
            different = [key for key in ours if not torch.equal(ours[key], theirs[key])]
            assert not different, (name, different)

    return check


@pytest.fixture(scope="session")
def fingerprint():
    """`fingerprint(directory)`: every file in it -> hash and modification time."""

    def of(directory):
        files = [path for path in directory.rglob("*") if path.is_file()]
        return {str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}

    return of


@pytest.fixture(scope="session")
def log_of():
    """`log_of(directory)`: the records of its log.jsonl."""
    return lambda directory: [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]


@pytest.fixture
def bands_recipe(bands):  # noqa: F811
    """A recipe on `Bands`."""
    return dataclasses.replace(recipe_of("dsprites"), name="bands", data=bands)
