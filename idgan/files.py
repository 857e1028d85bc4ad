"""Files: atomic writes, guarded reads and content hashes."""

import errno
import glob
import hashlib
import json
import os
import re
import secrets
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from idgan.errors import InvalidInputError, brief

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["read_json", "read_regular_file", "sha256_of", "user_path", "write_atomically"]

MAX_JSON_BYTES = 1 << 28
"""Bytes in the largest JSON file that is read."""


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
    Parent directories are created. Temporary files that a killed process left for the same `path` are deleted. Running
    processes hold a lock on theirs. Returns the `Path`.

    Raises:
        OSError: the disk is full or the directory cannot be written. The message names path and size. Any old file is
            intact.
    """
    path = user_path(path)
    data = data.encode() if isinstance(data, str) else data
    temporary: Path | None = None
    try:
        if _is_special(path):  # the rename would put a file in the place of a device
            raise OSError(errno.EINVAL, "it is not a regular file")
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with _open_temporary(path) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if fcntl is None:  # Windows does not rename an open file
                file.close()
            os.replace(temporary, path)
    except OSError as error:
        raise type(error)(error.errno, f"could not write {len(data):,} bytes to {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
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


def _open_temporary(path: Path) -> BinaryIO:
    """A new temporary file for `path`. It is locked until it is closed, so that no other process deletes it."""
    while True:
        file = open(path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp"), "xb")  # noqa: SIM115
        if _lock(file) is not False and os.path.exists(file.name):
            return file
        file.close()  # another process took it for a leftover, in the moment before the lock


def _remove_leftovers(path: Path) -> None:
    """Delete the temporary files for `path` that no process has locked, on this computer or in another container."""
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+-[0-9a-f]+-)?[0-9a-f]+\.tmp")
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if pattern.fullmatch(leftover.name):
            with suppress(OSError), open(leftover, "rb") as file:
                if _lock(file):
                    leftover.unlink()


def _lock(file: BinaryIO) -> bool | None:
    """Lock `file` until it is closed. False if a process has locked it, None if the system has no such locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    return True


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of the file at `path`, read in blocks."""
    digest = hashlib.sha256()
    with open(user_path(path), "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
