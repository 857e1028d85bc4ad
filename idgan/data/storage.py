"""How prepared images lie on disk: appended in order, cut back to what is certain after an interruption, and hashed in the end."""

import hashlib
import io
import os
from contextlib import contextmanager

import numpy as np

from idgan.data.image_folder import ARRAY_FILE, IMAGES_FOLDER
from idgan.files import sha256_of

__all__ = ["ArrayStorage", "FileStorage"]

HEADER_BYTES = 128


class ArrayStorage:
    """One .npy file, uint8 (N, resolution, resolution, 3), that is mapped into memory; its header is written last, when N is known."""

    name = ARRAY_FILE

    def __init__(self, directory, resolution):
        self.path = directory / ARRAY_FILE
        self.resolution = resolution
        self.bytes_each = resolution**2 * 3

    @contextmanager
    def opened(self, rows):
        """Open it to append, behind the first `rows` images."""
        with open(self.path, "ab") as self._file:
            self._file.truncate(HEADER_BYTES + rows * self.bytes_each)
            yield

    def append(self, image, content, suffix):
        self._file.write(image.tobytes())

    def flush(self):
        """Everything appended is on disk, whatever happens after this."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self, rows):
        """Make the whole readable; -> its sha256."""
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
    """A folder of image files, numbered: as they were where the image is all of them, PNG otherwise."""

    name = IMAGES_FOLDER

    def __init__(self, directory, resolution):
        self.folder = directory / IMAGES_FOLDER
        self.bytes_each = resolution**2 * 3 // 8  # about, in JPEG or PNG

    @contextmanager
    def opened(self, rows):
        """Begin to append, behind the first `rows` images."""
        self.folder.mkdir(exist_ok=True)
        for path in sorted(self.folder.iterdir())[rows:]:
            path.unlink()
        self._rows = rows
        yield

    def append(self, image, content, suffix):
        if content is None:
            file = io.BytesIO()
            image.save(file, "PNG")
            content, suffix = file.getvalue(), ".png"
        (self.folder / f"{self._rows:07d}{suffix}").write_bytes(content)
        self._rows += 1

    def flush(self):
        """Everything appended is on disk, whatever happens after this. One call for all: one a file would cost more than converting it."""
        if hasattr(os, "sync"):  # elsewhere that holds for a killed process, not for a power failure
            os.sync()

    def finish(self, rows):
        """-> sha256 of the sha256 of every file, in hex, a line each."""
        lines = "".join(f"{sha256_of(path)}\n" for path in sorted(self.folder.iterdir()))
        return hashlib.sha256(lines.encode()).hexdigest()
