"""Files that are whole or absent: atomic writes and content hashes."""

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

__all__ = ["sha256_of", "write_atomically"]


def write_atomically(path, data):
    """Write `data` (bytes or str) to `path` so that a reader, or a crash at any moment, sees the old file or the new one.

    The bytes go to a temporary file in the same directory, are flushed to disk, and are then renamed over `path`.
    Parent directories are created. Returns the `Path`.

    Raises:
        OSError: the disk is full or the directory cannot be written. The message names path and size; any old file is intact.
    """
    path = Path(path)
    data = data.encode() if isinstance(data, str) else data
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
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


def sha256_of(path):
    """Hex sha256 of the file at `path`, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
