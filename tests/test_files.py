"""Atomic writes: a file is whole or absent, and temporary files of killed processes are deleted."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from idgan.errors import InvalidInputError
from idgan.files import read_json, read_regular_file, sha256_of, user_path, write_atomically

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
    """`writer(path)`: a process that has written its temporary file for `path` and waits for a line."""
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


def test_a_leftover_of_an_older_version_is_deleted(tmp_path):
    path = tmp_path / "state"
    leftover = tmp_path / f".state.{os.getpid()}-0123abcd-4567cdef.tmp"
    leftover.write_text("half")
    others = [tmp_path / name for name in (".state.bin.0123456789abcdef.tmp", ".state.notes.tmp")]
    for other in others:
        other.write_text("not of this path")
    write_atomically(path, "whole")
    assert not leftover.exists()
    assert all(other.exists() for other in others)


@pytest.mark.skipif(os.name != "posix", reason="no locks of this kind")
def test_a_writer_in_another_container_keeps_its_own(tmp_path, writer, monkeypatch):
    """Its process id means nothing here. Only the lock counts."""
    monkeypatch.setattr(os, "kill", lambda *arguments: pytest.fail("asked for a process"))
    process = writer(tmp_path / "state")
    write_atomically(tmp_path / "state", "old")
    process.communicate("go\n")
    assert process.returncode == 0 and (tmp_path / "state").read_text() == "new"


def test_only_regular_files_are_read(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular_file("~/a", max_bytes=5) == b"12345"
    with pytest.raises(OSError, match="its 5 bytes are more than 4"):
        read_regular_file(tmp_path / "a", max_bytes=4)
    for path in tmp_path, "/dev/zero":
        with pytest.raises(OSError, match="it is (not a regular file|a directory)"):
            read_regular_file(path)


def test_a_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert write_atomically("~/new/a", b"x") == tmp_path / "new" / "a"
    assert sha256_of("~/new/a") == sha256_of(tmp_path / "new" / "a")
    assert user_path("~no-such-user/a") == Path("~no-such-user/a")


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[" * 200_000], ids=["empty", "not UTF-8", "cut", "deep"])
def test_a_file_that_is_no_json_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        read_json(tmp_path / "a.json")


@pytest.mark.skipif(os.name != "posix", reason="no pipes")
def test_a_pipe_is_neither_read_nor_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(OSError, match="not a regular file"):
        read_json(pipe)
    for path in (pipe, tmp_path / "link"):
        with pytest.raises(OSError, match="not a regular file") as caught:
            write_atomically(path, "x")
        assert caught.value.errno == errno.EINVAL
    assert pipe.is_fifo() and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("path", [5, None, b"x", [], "a\0b"])
def test_what_is_no_path_is_named(path):
    with pytest.raises(InvalidInputError, match="expected the path of a file or directory, got"):
        user_path(path)
