import contextlib
import fcntl
import json
import os
import pty
import struct
import sys
import termios

import pytest
import torch
from PIL import Image

from idgan.errors import RunError
from idgan.training.report import Report, read_log


def run(directory, steps, start=0, record=lambda step: True, **options):
    """Report on steps `start` + 1 to `steps`, whose loss is their number."""
    report = Report(directory, "toy", **{"quiet": True} | options)
    with report.open(start, steps):
        for step in range(start + 1, steps + 1):
            report.step(step, {"loss": torch.tensor(float(step))}, record=record(step))
    return report


def test_what_was_logged_past_the_resumed_step_is_dropped(tmp_path):
    run(tmp_path, 5)
    run(tmp_path, 4, start=2)
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": step, "loss": float(step)} for step in (1, 2, 3, 4)]


def test_a_last_line_cut_short_is_dropped(tmp_path):
    run(tmp_path, 3)
    path = tmp_path / "log.jsonl"
    whole = path.read_text()
    for cut in range(1, len(whole.splitlines()[-1])):
        path.write_text(whole[: -1 - cut])
        run(tmp_path, 3, start=2)
        assert path.read_text() == whole


@pytest.mark.parametrize("damage", ["{", "[1]", '{"loss": 1.0}', '{"step": "1"}', "\ufffd"])
def test_a_damaged_line_is_named(tmp_path, damage):
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1}}\n{damage}\n{{"step": 3}}\n')
    with pytest.raises(RunError, match=r"line 2 of .*log\.jsonl is damaged .*; delete that line"):
        read_log(path)
    path.write_text(f'{{"step": 1}}\n{damage}')
    assert read_log(path) == [{"step": 1}]


def test_a_log_that_is_not_text_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"\xff\xfe\n" * 3)
    with pytest.raises(RunError, match=r"line 1 of .*log\.jsonl is damaged"):
        read_log(path)


def test_only_recorded_steps_are_written(tmp_path):
    run(tmp_path, 9, record=lambda step: step % 3 == 0)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()] == [3, 6, 9]


def test_pictures_appear_at_their_steps(tmp_path):
    drawn = []

    def draw():
        drawn.append(len(drawn) + 1)
        return Image.new("RGB", (8, 8), (drawn[-1], 0, 0))

    run(tmp_path, 7, draw=draw, picture_interval=3)
    pictures = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in pictures] == ["step_00000003.png", "step_00000006.png"]
    assert [Image.open(path).getpixel((0, 0)) for path in pictures] == [(1, 0, 0), (2, 0, 0)]


def test_a_picture_that_cannot_be_made_does_not_end_the_training(tmp_path):
    def draw():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.warns(UserWarning, match="no picture of step 2 was made .OutOfMemoryError: CUDA out of memory"):
        run(tmp_path, 3, draw=draw, picture_interval=2)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").open()] == [1, 2, 3]


def test_a_process_that_does_not_lead_writes_nothing(tmp_path):
    run(tmp_path, 3, leader=False, draw=lambda: pytest.fail("drawn"), picture_interval=1)
    assert list(tmp_path.iterdir()) == []


def shown_on_a_terminal(directory, **options):
    """What a report writes to a terminal that is its standard error."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with os.fdopen(writer, "w") as terminal, contextlib.redirect_stderr(terminal):
        assert sys.stderr.isatty()
        run(directory, 3, **options)
        print("end", file=terminal, flush=True)
        shown = ""
        while "end" not in shown:  # a terminal hands over what it has got so far
            shown += os.read(reader, 4096).decode()
    os.close(reader)
    return shown


def test_a_progress_bar_only_where_someone_looks(tmp_path, capfd):
    assert "toy: 100%" in shown_on_a_terminal(tmp_path, quiet=False)
    assert shown_on_a_terminal(tmp_path, quiet=True) == "end\r\n"
    assert shown_on_a_terminal(tmp_path, quiet=False, leader=False) == "end\r\n"
    run(tmp_path, 3, quiet=False)
    assert capfd.readouterr() == ("", "")


def test_tensorboard_is_closed_on_errors_and_forgets_what_came_after_the_resumed_step(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run(tmp_path, 5)
    report = Report(tmp_path, "toy", quiet=True)

    def interrupted():
        with report.open(2, 5):
            report.record({"step": 3, "loss": 30.0, "detail": {"a": 1}})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_a_log_that_is_a_directory_or_nested_too_deeply_is_named(tmp_path):
    with pytest.raises(RunError, match="cannot be read"):
        read_log(tmp_path)
    (tmp_path / "log.jsonl").write_text("[" * 200_000 + "\n{}\n")
    with pytest.raises(RunError, match="line 1 .* is damaged"):
        read_log(tmp_path / "log.jsonl")
