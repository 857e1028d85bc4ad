"""Sources of image files: a folder, a zip or tar archive, or a folder of archives. All are only read."""

import io
import os
import tarfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Generic, TypeVar

from idgan.errors import DataError
from idgan.files import read_regular_file, user_path
from idgan.images import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES

__all__ = ["ARCHIVE_SUFFIXES", "HUGGING_FACE", "MAX_FILE_BYTES", "FileSource", "PerProcess", "is_hidden", "open_files"]

HUGGING_FACE = "hf:"
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_FILE_BYTES = 1 << 28
"""Bytes in the largest file that is read. A larger one would fill the memory."""
CHUNK = 1 << 12
"""Bytes that are unpacked at once, so that a zip archive cannot fill the memory with more than it claims."""

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A resource that each process makes for itself, because it survives neither a fork nor a pickle.

    Open files, locks and threads are such resources. `make` must be picklable.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    def __call__(self) -> T:
        process = os.getpid()
        if process not in self._values:
            self._values.setdefault(process, self._make())  # atomic: threads that come at once get the same one
        return self._values[process]

    def __reduce__(self) -> tuple[Any, ...]:
        return PerProcess, (self._make,)


class FileSource:
    """Files by name, in the order of the images. A subclass defines `content`.

    Attributes:
        names: the names of all files that are not hidden.
        images: the names of those that are images.
        sizes: name -> bytes.
        notes: sentences on what was left out.
        around: the folder in which a companion file may lie. None if there is no such folder.
        sequential: whether reading out of order is slow.
    """

    around: Path | None = None
    sequential: bool = False

    def __init__(self, sizes: dict[str, int], notes: list[str] | None = None) -> None:
        self.sizes = sizes
        self.names = list(sizes)
        self.images = [name for name in self.names if name.lower().endswith(IMAGE_SUFFIXES)]
        self.notes = notes if notes is not None else _notes_on_other_images(self.names)
        self._lock = PerProcess(threading.Lock)

    def read(self, name: str) -> bytes:
        """The content of the file `name`. Threads may call this at once.

        Raises:
            ValueError: the file is too large.
            OSError, or whatever a damaged archive makes its reader raise.
        """
        if self.sizes[name] > MAX_FILE_BYTES:
            raise ValueError(f"its {self.sizes[name]:,} bytes are more than {MAX_FILE_BYTES:,}")
        with self._lock():
            return self.content(name)

    def content(self, name: str) -> bytes:
        """The content of the file `name`. One thread at a time calls this."""
        raise NotImplementedError


def open_files(source: str | Path) -> FileSource:
    """The files of a folder (of images, or of archives with images), a zip or tar archive, or "hf:org/name".

    Raises:
        DataError: the source does not exist, is damaged, or is of another kind.
        MissingDependencyError: "hf:" needs the library `datasets`.
    """
    if str(source).startswith(HUGGING_FACE):
        from idgan.data.hugging_face import HuggingFaceFiles

        return HuggingFaceFiles(str(source))
    path = user_path(source)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_dir():
        return _open_archive(path)
    folder = FolderFiles(path)
    if folder.images:
        return folder
    archives = [entry for entry in sorted(path.iterdir()) if _is_archive(entry)]
    if not archives:
        return folder
    return SeveralFiles({folder.around.name: folder} | {entry.name: _open_archive(entry) for entry in archives})


def is_hidden(name: str) -> bool:
    """Whether a file of an archive or folder, or a folder on the way to it, is hidden or belongs to macOS."""
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(name).parts)


def _is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES) and not is_hidden(path.name) and path.is_file()


def _open_archive(path: Path) -> FileSource:
    if not path.is_file():
        raise DataError(f"{path} is neither a regular file nor a folder")
    try:
        return ZipFiles(path) if zipfile.is_zipfile(path) else TarFiles(path)
    except Exception as error:  # damaged archives make readers raise almost anything
        raise DataError(
            f"{path} cannot be read as a zip or tar archive: {error}. Download it again, or unpack it"
        ) from error


def _notes_on_other_images(names: list[str]) -> list[str]:
    """A sentence on the images of formats that are not read, if there are any."""
    suffixes = (PurePosixPath(name).suffix.lower() for name in names)
    counts = Counter(suffix for suffix in suffixes if suffix in OTHER_IMAGE_SUFFIXES)
    if not counts:
        return []
    kinds = ", ".join(f"{count:,} of {suffix}" for suffix, count in sorted(counts.items()))
    return [f"images of formats that are not read are left out: {kinds}"]


class FolderFiles(FileSource):
    """Every file below a folder, sorted. Names begin with the name of the folder itself."""

    around: Path

    def __init__(self, path: Path) -> None:
        self.around = path.resolve().parent
        unreadable: list[str] = []
        inside = {file.relative_to(path).as_posix(): file for file in _walk(path, unreadable)}
        self._files = {f"{path.resolve().name}/{name}": inside[name] for name in sorted(inside) if not is_hidden(name)}
        super().__init__({name: file.stat().st_size for name, file in self._files.items()})
        if unreadable:
            self.notes.append(f"folders that cannot be read are left out: {', '.join(unreadable)}")

    def content(self, name: str) -> bytes:
        return read_regular_file(self._files[name], MAX_FILE_BYTES)


def _walk(root: Path, unreadable: list[str]) -> Iterator[Path]:
    """The regular files below `root`. Links to folders are followed, but each folder is read once, so loops end."""
    pending, seen = [root], set()
    links: list[Path] = []
    while pending or links:
        folder = pending.pop() if pending else links.pop(0)  # links last: a folder is named by its real path
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(folder.iterdir())
        except OSError as error:
            if folder == root:
                raise DataError(f"{root} cannot be read: {error.strerror}") from error
            unreadable.append(str(folder))
            continue
        for entry in entries:
            if entry.is_dir():
                (links if entry.is_symlink() else pending).append(entry)
            elif entry.is_file():
                yield entry


class ZipFiles(FileSource):
    """The files in a zip archive, sorted."""

    def __init__(self, path: Path) -> None:
        self.around = path.resolve().parent
        self._archive = PerProcess(partial(zipfile.ZipFile, path.absolute()))
        self._entries: dict[str, str] = {}
        sizes = {}
        for entry in self._archive().infolist():
            name = entry.filename.replace("\\", "/")  # some archives from Windows
            if not name.endswith("/") and not is_hidden(name):
                self._entries[name], sizes[name] = entry.filename, entry.file_size
        super().__init__(dict(sorted(sizes.items())))

    def content(self, name: str) -> bytes:
        archive, entry = self._archive(), self._entries[name]
        if archive.getinfo(entry).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is neither stored nor deflated")  # other methods cannot be unpacked in small parts
        with archive.open(entry) as member:
            return b"".join(iter(partial(member.read, CHUNK), b""))


class TarFiles(FileSource):
    """The files in a tar archive, sorted.

    Those of a compressed archive keep its order, because going back means starting again.
    """

    def __init__(self, path: Path) -> None:
        self.around = path.resolve().parent
        self._archive = PerProcess(partial(tarfile.open, path.absolute()))
        archive = self._archive()
        self._members = {member.name: member for member in archive if member.isfile() and not is_hidden(member.name)}
        self.sequential = not isinstance(archive.fileobj, io.BufferedReader)
        names = self._members if self.sequential else sorted(self._members)
        super().__init__({name: self._members[name].size for name in names})

    def content(self, name: str) -> bytes:
        file = self._archive().extractfile(self._members[name])
        assert file is not None, "only regular files are members"
        return file.read()


class SeveralFiles(FileSource):
    """The files of a folder and of the archives in it, one after the other. `parts` maps a label to its files."""

    def __init__(self, parts: dict[str, FileSource]) -> None:
        self.sequential = any(part.sequential for part in parts.values())
        self._places = {f"{label}/{name}": (part, name) for label, part in parts.items() for name in part.names}
        super().__init__(
            {place: part.sizes[name] for place, (part, name) in self._places.items()},
            [note for part in parts.values() for note in part.notes],
        )

    def content(self, name: str) -> bytes:
        part, inside = self._places[name]
        return part.read(inside)
