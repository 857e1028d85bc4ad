"""Files that are whole or absent: atomic writes and content hashes."""

import glob
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["sha256_of", "write_atomically"]

PROCESS = secrets.token_hex(4)
"""Tells this process from an earlier one of the same id, as the first process of a container has it."""


def write_atomically(path, data):
    """Write `data` (bytes or str) to `path` so that a reader, or a crash at any moment, sees the old file or the new one.

    The bytes go to a temporary file in the same directory, are flushed to disk, and are then renamed over `path`.
    Parent directories are created. What a process that was killed in the middle of this left for the same `path` is deleted.
    Returns the `Path`.

    Raises:
        OSError: the disk is full or the directory cannot be written. The message names path and size; any old file is intact.
    """
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{PROCESS}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise type(error)(error.errno, f"could not write {len(data):,} bytes to {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return path


def _remove_leftovers(path):
    """Delete the temporaries of `path` whose processes are no more. Another process that is writing it right now keeps its own."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*-*.tmp"):
        number, process, _ = leftover.name.removeprefix(f".{path.name}.").split("-", 2)
        if number.isdecimal() and not _lives(int(number), process):
            with suppress(OSError):
                leftover.unlink()


def _lives(number, process):
    """Whether there is a process of the id `number`, as far as this machine can tell; this one only if it is called `process`."""
    if number == os.getpid():
        return process == PROCESS
    if os.name != "posix":  # there, signal 0 is no question
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sha256_of(path):
    """Hex sha256 of the file at `path`, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
