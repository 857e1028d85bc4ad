"""Files: atomic writes, guarded reads and content hashes."""

import errno
import glob
import hashlib
import json
import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from idgan.errors import InvalidInputError, brief

__all__ = ["read_json", "read_regular_file", "sha256_of", "user_path", "write_atomically"]

MAX_JSON_BYTES = 1 << 28
"""Bytes in the largest JSON file that is read."""
PROCESS = secrets.token_hex(4)
"""Distinguishes this process from an earlier one with the same id, such as the first process of a container."""


def user_path(path: str | os.PathLike[str]) -> Path:
    """The `Path` that a user gave, with a leading ~ expanded to the home directory.

    Raises:
        InvalidInputError: it is no text or path object, or has a null character.
    """
    if not isinstance(path, (str, os.PathLike)) or "\0" in str(path):
        raise InvalidInputError(f"expected the path of a file or directory, got {brief(path)}")
    return Path(os.path.expanduser(path))


def read_regular_file(path: str | os.PathLike[str], max_bytes: int | None = None) -> bytes:
    """The content of the file at `path`. A pipe or a device is refused, because reading it may never end.

    Raises:
        OSError: there is no regular file, it cannot be read, or it has more than `max_bytes` bytes.
    """
    path = user_path(path)
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory", str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if max_bytes is not None and status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"its {status.st_size:,} bytes are more than {max_bytes:,}", str(path))
    return path.read_bytes()


def read_json(path: str | os.PathLike[str]) -> Any:
    """The JSON value in the file at `path`.

    Raises:
        OSError: there is no regular file, it cannot be read, or it is too large.
        ValueError: it is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(read_regular_file(path, MAX_JSON_BYTES).decode())
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write `data` to `path`. A reader, or a crash at any moment, sees the old file or the new one.

    The bytes go to a temporary file in the same directory, are flushed to disk, and are then renamed over `path`.
    Parent directories are created. Temporary files that a killed process left for the same `path` are deleted.
    Returns the `Path`.

    Raises:
        OSError: the disk is full or the directory cannot be written. The message names path and size. Any old file is
            intact.
    """
    path = user_path(path)
    data = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{PROCESS}-{secrets.token_hex(4)}.tmp")
    try:
        if _is_special(path):  # the rename would put a file in the place of a device
            raise OSError(errno.EINVAL, "it is not a regular file")
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


def _is_special(path: Path) -> bool:
    """Whether `path` is a pipe, a device or another thing that is neither a file nor a directory."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary files for `path` of processes that have ended. Running processes keep theirs."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*-*-*.tmp"):
        number, process, _ = leftover.name.removeprefix(f".{path.name}.").split("-", 2)
        if number.isdecimal() and not _is_running(int(number), process):
            with suppress(OSError):
                leftover.unlink()


def _is_running(number: int, process: str) -> bool:
    """Whether the process of the id `number` and the token `process` is running, as far as this machine can tell."""
    if number == os.getpid():
        return process == PROCESS
    if os.name != "posix":  # on Windows, signal 0 would end the process
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of the file at `path`, read in blocks."""
    digest = hashlib.sha256()
    with open(user_path(path), "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
