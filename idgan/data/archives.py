"""Where encoded images come from: a folder, a zip or tar archive, a folder of archives, a Hugging Face data set. All are only read."""

import io
import os
import re
import tarfile
import threading
import zipfile
from pathlib import Path, PurePosixPath

from idgan.errors import DataError, MissingDependencyError

__all__ = ["ARCHIVE_SUFFIXES", "HUGGING_FACE", "IMAGE_SUFFIXES", "open_files"]

HUGGING_FACE = "hf:"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".tif", ".tiff")
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
MAX_FILE_BYTES = 1 << 28  # bytes; what claims to be more is no image, but might fill the memory


def open_files(source):
    """The files behind `source`: a folder (of images, or of archives that hold them), a zip or tar archive, or "hf:org/name".

    Returns:
        An object with `names` (the order of the images), `images` (those that are images), `sizes` (name -> bytes), `read(name) -> bytes`
        (safe in threads), `around` (the folder in which a companion file may lie, or None) and `sequential` (reading out of order is slow).

    Raises:
        DataError: it does not exist, is damaged, or is nothing of the kind.
        MissingDependencyError: "hf:" needs the library `datasets`.
    """
    if str(source).startswith(HUGGING_FACE):
        return HuggingFaceFiles(str(source))
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not path.is_dir():
        return _open_archive(path)
    folder = FolderFiles(path)
    archives = (
        []
        if folder.images
        else [entry for entry in sorted(path.iterdir()) if entry.name.lower().endswith(ARCHIVE_SUFFIXES)]
    )
    return (
        SeveralFiles({folder.around.name: folder} | {entry.name: _open_archive(entry) for entry in archives})
        if archives
        else folder
    )


def _open_archive(path):
    try:
        return ZipFiles(path) if zipfile.is_zipfile(path) else TarFiles(path)
    except Exception as error:  # damaged archives make readers raise almost anything
        raise DataError(
            f"{path} cannot be read as a zip or tar archive: {error}. Download it again, or unpack it"
        ) from error


class _Files:
    """`sizes` in the order of the images; a subclass reads: `content(name) -> bytes`, one call at a time."""

    around = None
    sequential = False

    def __init__(self, sizes):
        self.sizes = {name: size for name, size in sizes.items() if not _hidden(name)}
        self.names = list(self.sizes)
        self.images = [name for name in self.names if name.lower().endswith(IMAGE_SUFFIXES)]
        self._lock = threading.Lock()

    def read(self, name):
        if self.sizes[name] > MAX_FILE_BYTES:
            raise ValueError(f"{self.sizes[name]:,} bytes are too many for an image")
        with self._lock:
            return self.content(name)


def _hidden(name):
    return any(part.startswith((".", "__MACOSX")) and part != ".." for part in PurePosixPath(name).parts)


class FolderFiles(_Files):
    """Every file below a folder, sorted; names begin with the folder's own."""

    def __init__(self, path):
        self.around = path.resolve().parent
        found = (Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
        found = {f"{path.resolve().name}/{file.relative_to(path).as_posix()}": file for file in found if file.is_file()}
        self._files = dict(sorted(found.items()))
        super().__init__({name: file.stat().st_size for name, file in self._files.items()})

    def content(self, name):
        return self._files[name].read_bytes()


class ZipFiles(_Files):
    """The files in a zip archive, sorted."""

    def __init__(self, path):
        self.around = path.resolve().parent
        self._archive = zipfile.ZipFile(path)
        entries = {entry.filename: entry.file_size for entry in self._archive.infolist() if not entry.is_dir()}
        super().__init__(dict(sorted(entries.items())))

    def content(self, name):
        return self._archive.read(name)


class TarFiles(_Files):
    """The files in a tar archive: sorted, but in the order of the archive if it is compressed, since going back means to start again."""

    def __init__(self, path):
        self.around = path.resolve().parent
        self._archive = tarfile.open(path)  # noqa: SIM115 - stays open for reading
        self._members = {member.name: member for member in self._archive if member.isfile()}
        self.sequential = not isinstance(self._archive.fileobj, io.BufferedReader)
        names = self._members if self.sequential else sorted(self._members)
        super().__init__({name: self._members[name].size for name in names})

    def content(self, name):
        return self._archive.extractfile(self._members[name]).read()


class SeveralFiles(_Files):
    """The files of a folder and of the archives in it, one after the other; `parts` is their name -> their files."""

    def __init__(self, parts):
        self.sequential = any(part.sequential for part in parts.values())
        self._places = {f"{label}/{name}": (part, name) for label, part in parts.items() for name in part.names}
        super().__init__({place: part.sizes[name] for place, (part, name) in self._places.items()})

    def content(self, name):
        part, inside = self._places[name]
        return part.read(inside)


class HuggingFaceFiles(_Files):
    """The images of a Hugging Face data set: "hf:org/name", "hf:org/name@revision", "hf:org/name:split"; or a local parquet file or folder.

    The split is "train" unless another is named ("all", "train+test"); the images are those of its first image column.
    """

    def __init__(self, spec):
        path, revision, split = re.fullmatch(r"hf:(.+?)(?:@([^@:/]+))?(?::([a-zA-Z][\w+]*))?", spec).groups()
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError(f"{spec} needs the library datasets: pip install 'idgan[data]'") from error
        where = (
            {"path": "parquet", "data_files": path}
            if path.endswith(".parquet")
            else {"path": path, "revision": revision}
        )
        try:
            rows = datasets.load_dataset(**where, split=split or "train")
        except Exception as error:  # the library and its back ends raise almost anything
            raise DataError(f"{spec} cannot be loaded: {error}") from error
        columns = [name for name, feature in rows.features.items() if isinstance(feature, datasets.Image)]
        if not columns:
            raise DataError(f"{spec} has no column of images, only {', '.join(rows.features)}")
        self._rows = rows.select_columns(columns[:1]).cast_column(columns[0], datasets.Image(decode=False))
        self._column = columns[0]
        super().__init__({f"{split or 'train'}-{row:06d}": 0 for row in range(len(rows))})
        self.images = self.names

    def content(self, name):
        image = self._rows[int(name.rpartition("-")[2])][self._column]
        return image["bytes"] if image["bytes"] is not None else Path(image["path"]).read_bytes()
