import math
import os
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from idgan.errors import RunError
from idgan.training.checkpoint import differences, load_state, read_settings, save_state, step_of


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def test_what_is_saved_comes_back(tmp_path):
    state = {
        "nothing": None,
        "yes": True,
        "count": 3,
        "text": "a/b",
        "unbounded": [math.inf, -math.inf, 1e-300],
        "empty": [{}, [], torch.empty(0, 3)],
        7: {0: torch.arange(3), 1: torch.tensor(2.5)},
        "kinds": [torch.ones(2, dtype=torch.bfloat16), torch.tensor([True]), torch.tensor(4, dtype=torch.int64)],
        "nested/key": {"nested": {"key": torch.zeros(1)}},
    }
    save_state(tmp_path / "state", state)
    assert equal(load_state(tmp_path / "state"), state)


def test_tuples_come_back_as_lists_layouts_as_contiguous_and_shared_memory_as_copies(tmp_path):
    weight = torch.randn(3, 4, 2, 2).to(memory_format=torch.channels_last)
    bias = torch.randn(5)
    save_state(
        tmp_path / "state",
        {"betas": (0.9, 0.999), "weight": weight, "view": weight[:, 1], "tied": [bias, bias, bias[1:]]},
    )
    state = load_state(tmp_path / "state")
    assert state["betas"] == [0.9, 0.999]
    assert state["weight"].is_contiguous()
    assert torch.equal(state["weight"], weight)
    assert torch.equal(state["view"], weight[:, 1])
    assert all(map(torch.equal, state["tied"], [bias, bias, bias[1:]]))


@pytest.mark.parametrize(
    "build",
    [
        lambda parameters: torch.optim.Adam(parameters, 1e-2, betas=(0.5, 0.9), fused=True),
        lambda parameters: torch.optim.RMSprop(parameters, 1e-2, foreach=True),
    ],
)
def test_an_optimizer_continues_from_its_saved_state(tmp_path, build):
    def steps(parameter, optimizer, count):
        for _ in range(count):
            optimizer.zero_grad()
            (parameter * torch.arange(3)).square().sum().backward()
            optimizer.step()

    whole = torch.nn.Parameter(torch.ones(3))
    steps(whole, build([whole]), 5)

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = build([parameter])
    steps(parameter, optimizer, 2)
    save_state(tmp_path / "state", {"parameter": parameter, "optimizer": optimizer.state_dict()})
    state = load_state(tmp_path / "state")
    parameter = torch.nn.Parameter(state["parameter"])
    optimizer = build([parameter])
    optimizer.load_state_dict(state["optimizer"])
    steps(parameter, optimizer, 3)
    assert torch.equal(parameter, whole)


def test_a_save_that_fails_keeps_the_old_file_and_says_what_it_could_not_write(tmp_path):
    path = tmp_path / "state"
    save_state(path, {"step": 1})
    script = f"""
import resource, torch
from idgan.training.checkpoint import save_state
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_state({str(path)!r}, {{"step": 2, "weights": torch.zeros(50_000)}})
except OSError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert str(path) in said
    assert "200," in said  # the bytes: 50,000 floats and a header
    assert load_state(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"<html>" + data, lambda data: data + b"x"],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "state.safetensors"
    save_state(path, {"step": 1, "weights": torch.zeros(1000)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match=r"state\.safetensors is not a training state"):
        load_state(path)


def test_differences_names_each_field_with_both_values():
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 2}) == ""
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": "x"}) == "b: 2 stored, 3 now; c: None stored, 'x' now"


@pytest.mark.parametrize(
    "skeleton", ['{"dict":[["step",1e999]]}', '{"dict":[[1]]}', '{"dict":[[["a"],5]]}', "[" * 200_000]
)
def test_a_damaged_state_is_one_error(tmp_path, skeleton):
    safetensors.torch.save_file({}, tmp_path / "state", {"state": skeleton})
    with pytest.raises(RunError, match="is not a training state"):
        step_of(tmp_path / "state")


@pytest.mark.skipif(os.name != "posix", reason="no pipes")
def test_a_directory_and_a_pipe_are_no_state(tmp_path):
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("directory", "pipe"):
        for read in (load_state, step_of):
            with pytest.raises(RunError, match="not a regular file"):
                read(tmp_path / name)


def test_deeply_nested_settings_are_refused(tmp_path):
    (tmp_path / "recipe.json").write_text("[" * 200_000)
    with pytest.raises(RunError, match="holds no settings of a run"):
        read_settings(tmp_path)
