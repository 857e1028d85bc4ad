"""Two processes train as one does with the whole batch."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from idgan.training import train
from idgan.training.checkpoint import step_of
from idgan.training.distributed import any_process, average_gradients, barrier, mean_over_processes, process_group
from idgan.training.launch import run_processes

FP32 = {"vae_stage__precision": "fp32", "gan_stage__precision": "fp32", "gan_stage__steps": 4, "vae_stage__steps": 4}
"""The first phase of stage 1 has no total correlation.

The discriminator pairs rows of one process, so its estimate would differ.
"""


def start(script, world_size=2):
    """Start processes that run `script`, set up like those of torchrun."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rendezvous = {
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env=os.environ | rendezvous | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]


def launch(script, world_size=2):
    """Run `script` in processes set up like those of torchrun. Returns what each printed."""
    processes = start(script, world_size)
    outputs = [process.communicate(timeout=300) for process in processes]
    assert all(process.returncode == 0 for process in processes), outputs
    return [out.strip() for out, _ in outputs]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_train_as_one(tmp_path, tiny, log_of, accumulate):
    one, two = tmp_path / "one", tmp_path / "two"
    options = tiny(**FP32, vae_stage__batch_size=8)
    train("dsprites", one, **options)
    options["settings"] |= {"vae_stage.accumulation_steps": accumulate, "gan_stage.accumulation_steps": accumulate}
    printed = launch(f"from idgan.training import train; print(train('dsprites', {str(two)!r}, **{options!r}))")
    assert printed == [str(two / "model.safetensors")] * 2
    critic = {"tc", "tc_discriminator", "tc_discriminator_loss"}
    for stage in "vae", "gan":
        ours, theirs = log_of(one / stage), log_of(two / stage)
        assert len(ours) == len(theirs) > 0  # one process writes
        for a, b in zip(ours, theirs):
            assert a.keys() == b.keys()
            assert {k: v for k, v in b.items() if k not in critic} == pytest.approx(
                {k: v for k, v in a.items() if k not in critic}, rel=1e-4, abs=1e-5
            )
        assert len(list((two / stage).rglob("events.*"))) == len(list((one / stage).rglob("events.*")))
    ours, theirs = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name in ours:  # after a few steps of Adam, which makes much of small differences
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-2, atol=2e-4)


@pytest.mark.slow
def test_two_processes_reconstruct_as_one(tmp_path, tiny, log_of):
    """Each reads its own rows of the random shifts and of the noise."""
    one, two = tmp_path / "one", tmp_path / "two"
    options = tiny(
        gan_stage__precision="fp32",
        gan_stage__steps=5,
        gan_stage__batch_size=4,
        gan_stage__objective__reconstruction_steps=2,
        gan_stage__objective__head_start=1,
        discriminator__base_width=4,
        discriminator__max_width=4,
        discriminator__head_width=4,
    ) | {"method": "reconstructing", "vae": "dsprites"}
    train("dsprites", one, **options)
    launch(f"from idgan.training import train; train('dsprites', {str(two)!r}, **{options!r})")
    ours, theirs = log_of(one / "gan"), log_of(two / "gan")
    assert {"reconstruction", "s_kl", "r_id", "discriminator_loss"} <= ours[-1].keys()
    for a, b in zip(ours, theirs, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
    ours, theirs = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert ours.keys() == theirs.keys() >= {"nuisance_encoder.0.weight"}
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-2, atol=1e-3)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="lists threads as Linux does")
def test_no_thread_of_the_process_group_outlives_the_training(tmp_path, tiny):
    """A thread that still runs while Python exits can abort the process."""
    script = f"""
from pathlib import Path
from idgan.training import train
train("dsprites", {str(tmp_path / "run")!r}, stage="vae", **{tiny(vae_stage__precision="fp32", vae_stage__steps=2)!r})
print([name for name in (task.read_text() for task in Path("/proc/self/task").glob("*/comm")) if "gloo" in name])
"""
    assert launch(script) == ["[]", "[]"]


def test_a_refused_directory_is_an_error_in_every_process(tmp_path, tiny):
    (tmp_path / "thesis.txt").write_text("dear to someone")
    script = f"""
from idgan.errors import RunError
from idgan.training import train
try:
    train("dsprites", {str(tmp_path)!r}, **{tiny()!r})
except RunError:
    print("refused")
"""
    assert launch(script) == ["refused", "refused"]


@pytest.mark.slow
def test_only_the_leader_speaks(tmp_path):
    out = str(tmp_path / "run")
    command = [
        "train",
        "dsprites",
        "--out",
        out,
        "--stage",
        "vae",
        "--steps",
        "1",
        "--batch-size",
        "4",
        "--set",
        "vae_stage.precision=fp32",
    ]
    printed = launch(f"from idgan.cli import main; main({command!r})")
    assert printed == [f"{out}: stage 1 is done", ""]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_of_all_processes_leaves_one_line(tmp_path, number):
    out = tmp_path / "run"
    command = ["train", "dsprites", "--out", str(out), "--stage", "vae", "--batch-size", "4"]
    command += ["--set", "vae_stage.precision=fp32", "--set", "vae_stage.select_every=0"]
    processes = start(f"from idgan.cli import main; main({command!r})")
    log = out / "vae" / "log.jsonl"
    while not log.exists() or not log.read_text():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    for process in processes:
        process.send_signal(number)
    errors = [process.communicate(timeout=300)[1] for process in processes]
    lines = [line for text in errors for line in text.splitlines()]
    assert [process.returncode for process in processes] == [1, 1]
    assert len([line for line in lines if "stopped at step" in line]) == 1
    assert not any("Traceback" in line or "Aborted" in line for line in lines), lines


@pytest.mark.parametrize("method", ["on_step", "on_stage_end"])
def test_of_two_processes_one_calls_and_both_end_when_it_fails(tmp_path, tiny, method):
    options = tiny(vae_stage__precision="fp32", vae_stage__steps=3)
    state = tmp_path / "run" / "vae" / "state.safetensors"
    script = f"""
import os
from pathlib import Path
from idgan.training import Callback, train
class Fails(Callback):
    def {method}(self, *arguments):
        print("called in process", os.environ["RANK"])
        raise ValueError("no")
try:
    train("dsprites", {str(tmp_path / "run")!r}, stage="vae", callbacks=[Fails()], **{options!r})
except (ValueError, SystemExit) as error:
    print(repr(error), Path({str(state)!r}).exists())
"""
    assert launch(script) == ["called in process 0\nValueError('no') True", "SystemExit(1) True"]
    assert step_of(state) == (1 if method == "on_step" else 3)


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "kill"])
def test_an_interrupt_of_the_launcher_and_its_processes_leaves_one_line(tmp_path, terminal):
    """On Ctrl-C in a terminal, each process hears the signal twice: from the terminal and from the launcher."""
    out = tmp_path / "run"
    command = ["train", "dsprites", "--out", str(out), "--stage", "vae", "--batch-size", "4", "--processes", "2"]
    command += ["--set", "vae_stage.precision=fp32", "--set", "vae_stage.select_every=0"]
    options = {"stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    launcher = subprocess.Popen([sys.executable, "-c", f"from idgan.cli import main; main({command!r})"], **options)
    log = out / "vae" / "log.jsonl"
    while not log.exists() or not log.read_text():
        assert launcher.poll() is None
        time.sleep(0.05)
    (os.killpg if terminal else os.kill)(launcher.pid, signal.SIGINT)
    _, said = launcher.communicate(timeout=300)
    assert launcher.returncode == 1
    step = int(re.fullmatch(r"Error: stopped at step (\d+); the same command continues from there\n", said)[1])
    assert step_of(out / "vae" / "state.safetensors") == step


def test_when_one_process_fails_the_launcher_ends_the_others():
    waits = "import os, sys, time; sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(600)"
    assert run_processes([sys.executable, "-c", waits], 3) == 3
    assert run_processes([sys.executable, "-c", "import os; assert os.environ['WORLD_SIZE'] == '2'"], 2) == 0


def test_after_a_signal_the_launcher_lets_a_process_save(tmp_path):
    """Process 1 ends at once. Process 0 takes longer than the patience of the launcher."""
    child = f"""
import os, signal, sys, time
from pathlib import Path
out, rank = Path({str(tmp_path)!r}), os.environ["RANK"]
def save(number, frame):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if rank == "0":
        time.sleep(2)
        (out / "saved").touch()
    sys.exit(1)
signal.signal(signal.SIGINT, save)
(out / rank).touch()
time.sleep(600)
"""
    script = f"""
import sys
from idgan.training import launch
launch.PATIENCE = 0.2
sys.exit(launch.run_processes([sys.executable, "-c", {child!r}], 2))
"""
    launcher = subprocess.Popen([sys.executable, "-c", script])
    while not ((tmp_path / "0").exists() and (tmp_path / "1").exists()):
        assert launcher.poll() is None
        time.sleep(0.05)
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(timeout=300) == 1
    assert (tmp_path / "saved").exists()


def test_what_processes_agree_on():
    script = """
import torch
from idgan.training.distributed import any_process, average_gradients, barrier, mean_over_processes, process_group
with process_group("cpu") as group:
    weight, bias, unused = (torch.nn.Parameter(torch.zeros(shape)) for shape in ((2, 3, 2, 2), (3,), (1,)))
    weight.data = weight.data.to(memory_format=torch.channels_last)
    weight.grad = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last) * (group.rank + 1)
    bias.grad = torch.full((3,), float(group.rank))
    average_gradients([weight, unused, bias])
    assert torch.equal(weight.grad, torch.arange(24.0).view(2, 3, 2, 2) * 1.5)
    assert weight.grad.stride() == weight.stride()
    assert bias.grad.tolist() == [0.5] * 3 and unused.grad is None
    assert mean_over_processes({"a": torch.tensor(group.rank * 2.0), "b": torch.tensor(3.0)}) == {"a": 1.0, "b": 3.0}
    assert any_process(group.rank == 1) is True and any_process(False) is False
    barrier()
    print(group.rank, group.world_size, group.device)
"""
    assert launch(script) == ["0 2 cpu", "1 2 cpu"]


def test_alone_nothing_is_exchanged():
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    with process_group("cpu") as group:
        average_gradients([parameter])
        barrier()
        assert (group.rank, group.world_size) == (0, 1)
        assert not torch.distributed.is_initialized()
    assert parameter.grad.tolist() == [1, 1]
    assert (any_process(True), any_process(False)) == (True, False)
    assert mean_over_processes({"loss": torch.tensor(2.5)}) == {"loss": 2.5}
