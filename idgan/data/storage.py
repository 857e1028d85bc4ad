"""How prepared images are stored: appended in order, cut back after an interruption, and hashed in the end."""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from PIL import Image

from idgan.data.image_folder import ARRAY_FILE, IMAGES_FOLDER
from idgan.files import sha256_of

__all__ = ["ArrayStorage", "FileStorage", "Storage"]

HEADER_BYTES = 128


class Storage(Protocol):
    """Where the images of a prepared directory go.

    Attributes:
        name: name of the file or folder, which the index records.
        bytes_each: size of an image on the disk, about.
    """

    name: str
    bytes_each: int

    def opened(self, rows: int) -> AbstractContextManager[None]:
        """Context in which images are appended after the first `rows`."""
        ...

    def append(self, image: Image.Image, content: bytes | None, suffix: str) -> None:
        """Store `image`, or the file of `suffix` with this `content` if that holds the same image."""
        ...

    def flush(self) -> None:
        """Write everything appended to the disk, so that it survives a power failure."""
        ...

    def finish(self, rows: int) -> str:
        """Complete the storage of `rows` images, and return its sha256."""
        ...


class ArrayStorage:
    """One .npy file, uint8 (N, resolution, resolution, 3), which is mapped into memory for reading.

    Its header is written last, when N is known.
    """

    name = ARRAY_FILE

    def __init__(self, directory: Path, resolution: int) -> None:
        self.path = directory / ARRAY_FILE
        self.resolution = resolution
        self.bytes_each = resolution**2 * 3
        self._file: IO[bytes]

    @contextmanager
    def opened(self, rows: int) -> Iterator[None]:
        with open(self.path, "ab", buffering=0) as self._file:
            self._file.truncate(HEADER_BYTES + rows * self.bytes_each)
            yield

    def append(self, image: Image.Image, content: bytes | None, suffix: str) -> None:
        with _naming(self.path, self.bytes_each):
            left = memoryview(image.tobytes())
            while left:
                left = left[self._file.write(left) :]

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def finish(self, rows: int) -> str:
        header = io.BytesIO()
        shape = (rows, self.resolution, self.resolution, 3)
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        assert len(header.getvalue()) == HEADER_BYTES
        with open(self.path, "r+b") as file:
            file.write(header.getvalue())
            file.flush()
            os.fsync(file.fileno())
        return sha256_of(self.path)


class FileStorage:
    """A folder of numbered image files. A source file that holds just the image is copied. Others become PNG files."""

    name = IMAGES_FOLDER

    def __init__(self, directory: Path, resolution: int) -> None:
        self.folder = directory / IMAGES_FOLDER
        self.bytes_each = resolution**2 * 3 // 8  # about, in JPEG or PNG
        self._rows = 0

    @contextmanager
    def opened(self, rows: int) -> Iterator[None]:
        self.folder.mkdir(exist_ok=True)
        for path in sorted(self.folder.iterdir())[rows:]:
            path.unlink()
        self._rows = rows
        yield

    def append(self, image: Image.Image, content: bytes | None, suffix: str) -> None:
        if content is None:
            file = io.BytesIO()
            image.save(file, "PNG")
            content, suffix = file.getvalue(), ".png"
        path = self.folder / f"{self._rows:07d}{suffix}"
        with _naming(path, len(content)):
            path.write_bytes(content)
        self._rows += 1

    def flush(self) -> None:
        # One call for all files, because one for each would cost more than the conversion.
        # Windows has no such call. There, the files survive a killed process, but no power failure.
        if hasattr(os, "sync"):
            os.sync()

    def finish(self, rows: int) -> str:
        """The sha256 of a text with the sha256 of every file in hex, one a line."""
        lines = "".join(f"{sha256_of(path)}\n" for path in sorted(self.folder.iterdir()))
        return hashlib.sha256(lines.encode()).hexdigest()


@contextmanager
def _naming(path: Path, size: int) -> Iterator[None]:
    """Context that puts path and size into the error of a failed write."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"could not write {size:,} bytes to {path}: {error.strerror}") from error
