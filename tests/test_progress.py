"""Progress is a bar on a terminal and lines in a log."""

import io
import sys

import pytest

from idgan import progress as module
from idgan.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stderr(monkeypatch):
    """`stderr(terminal)`: replaces stderr, and returns what collects its text."""

    def replace(terminal):
        stream = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replace


def test_a_log_gets_a_line_at_each_interval_and_at_the_end(stderr, monkeypatch):
    monkeypatch.setattr(module, "LOG_INTERVAL", 0.0)
    log = stderr(terminal=False)
    with progress(5, "train", "step", initial=2) as bar:
        for step in range(3):
            bar.set_postfix(loss=step, refresh=False)
            bar.update()
    assert [line.split()[1] for line in log.getvalue().splitlines()][:4] == ["2/5", "3/5", "4/5", "5/5"]
    assert "loss=2" in log.getvalue() and "\r" not in log.getvalue()


def test_short_work_leaves_the_log_alone(stderr):
    log = stderr(terminal=False)
    assert list(progress(range(500), "encode", "image")) == list(range(500))
    assert log.getvalue() == ""


def test_a_terminal_gets_a_bar(stderr):
    terminal = stderr(terminal=True)
    assert list(progress(iter("abc"), "read", "letter")) == ["a", "b", "c"]
    assert "\rread: " in terminal.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_unless_enabled(stderr, terminal):
    stream = stderr(terminal)
    with progress(None, "train", "step", enabled=False) as bar:
        bar.update()
    assert stream.getvalue() == ""
