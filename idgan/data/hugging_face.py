"""Images of a Hugging Face data set as a source of files."""

import re
from pathlib import Path
from typing import Any

from idgan.data.sources import MAX_FILE_BYTES, FileSource
from idgan.errors import DataError, InvalidInputError, MissingDependencyError, missing_extra
from idgan.files import read_regular_file, user_path

__all__ = ["HuggingFaceFiles"]

SPEC = re.compile(r"hf:(.+?)(?:@([^@:/]+))?(?::([a-zA-Z][\w+]*))?")


class HuggingFaceFiles(FileSource):
    """The images in the first image column of a Hugging Face data set. Rows without an image are left out.

    A row holds the content of its image, or the path of a file. Only files in the data set's own directory are read.

    Args:
        spec: "hf:org/name", "hf:org/name@revision", "hf:org/name:split", or "hf:" and the path of a parquet file or
            a folder. The split is "train" unless another is named ("all", "train+test").

    Raises:
        InvalidInputError: another form of `spec`.
        DataError: it cannot be loaded, or has no column of images.
        MissingDependencyError: the library `datasets` is not installed.
    """

    def __init__(self, spec: str) -> None:
        match = SPEC.fullmatch(spec)
        if match is None:
            raise InvalidInputError(f"expected hf:org/name, got {spec!r}")
        name, revision, split = match.groups()
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError(missing_extra(f"{spec} needs the library datasets", "data")) from error
        path = user_path(name)
        if path.suffix == ".parquet":
            where: dict[str, Any] = {"path": "parquet", "data_files": str(path)}
        else:
            where = {"path": str(path), "revision": revision}
        try:
            rows = datasets.load_dataset(**where, split=split or "train")
        except Exception as error:  # the library and its back ends raise almost anything
            raise DataError(f"{spec} cannot be loaded: {error}") from error
        columns = [column for column, feature in rows.features.items() if isinstance(feature, datasets.Image)]
        if not columns:
            raise DataError(f"{spec} has no column of images, only {', '.join(rows.features)}")
        self._column = columns[0]
        self._rows = rows.select_columns(columns[:1]).cast_column(self._column, datasets.Image(decode=False))
        self._directories = _own_directories(name, path)
        filled = _filled(self._rows, self._column)
        empty = len(filled) - sum(filled)
        notes = [f"{empty:,} rows of {spec} have no image and are left out"] if empty else []
        super().__init__({f"{split or 'train'}-{row:06d}": 0 for row, full in enumerate(filled) if full}, notes)
        self.images = self.names

    def content(self, name: str) -> bytes:
        image = self._rows[int(name.rpartition("-")[2])][self._column]
        content = image["bytes"]
        if content is None:
            path = Path(image["path"]).resolve()
            if not any(path.is_relative_to(directory) for directory in self._directories):
                raise ValueError(f"its file {image['path']} is outside the data set's directory")
            return read_regular_file(path, MAX_FILE_BYTES)
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"its {len(content):,} bytes are more than {MAX_FILE_BYTES:,}")
        return content


def _own_directories(name: str, path: Path) -> list[Path]:
    """The directories in which the rows of a data set may name files. None for a parquet file."""
    if path.is_dir():
        return [path.resolve()]
    if path.suffix == ".parquet":
        return []
    import datasets
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    return [repository.resolve(), Path(datasets.config.EXTRACTED_DATASETS_PATH).resolve()]


def _filled(rows: Any, column: str) -> list[bool]:
    """Whether each row holds the content or the path of an image. `rows` is a `datasets.Dataset`."""
    import pyarrow.compute

    images = rows.with_format("arrow")[:][column]
    content, path = (pyarrow.compute.struct_field(images, field) for field in ("bytes", "path"))
    return pyarrow.compute.or_(content.is_valid(), path.is_valid()).to_pylist()
