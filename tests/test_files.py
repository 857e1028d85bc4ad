"""Files are whole or absent, and what a kill leaves is cleaned up."""

import os
import subprocess
import sys

import pytest

from idgan.files import write_atomically

WRITER = """
import os, sys
from idgan import files
def stop(*paths):
    print("written", flush=True)
    sys.stdin.readline()
    os.replace = replace
    replace(*paths)
replace, os.replace = os.replace, stop
files.write_atomically(sys.argv[1], "new")
"""


@pytest.fixture
def writer():
    """`writer(path)`: a process that is about to put its temporary in the place of `path`, and waits for a line."""
    started = []

    def start(path):
        command = [sys.executable, "-c", WRITER, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout.readline() == "written\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path, writer):
    path = tmp_path / "state[1].bin"
    process = writer(path)
    process.kill()
    process.wait()
    (leftover,) = names(tmp_path)
    assert leftover.startswith(".state[1].bin.") and leftover.endswith(".tmp")
    write_atomically(tmp_path / "state", "other")  # not its own
    write_atomically(tmp_path / "state[1]", "other")
    assert leftover in names(tmp_path)
    write_atomically(path, "old")
    assert leftover not in names(tmp_path)
    assert path.read_text() == "old"


def test_a_process_that_is_writing_keeps_its_own(tmp_path, writer):
    path = tmp_path / "state"
    process = writer(path)
    write_atomically(path, "old")
    assert path.read_text() == "old"
    process.communicate("go\n")
    assert process.returncode == 0
    assert path.read_text() == "new"
    assert names(tmp_path) == ["state"]


def test_an_earlier_process_of_this_ones_id_is_no_more(tmp_path):
    """The first process of a container always has the same id."""
    path = tmp_path / "state"
    leftover = tmp_path / f".state.{os.getpid()}-0123abcd-4567cdef.tmp"
    leftover.write_text("half")
    write_atomically(path, "whole")
    assert not leftover.exists()
