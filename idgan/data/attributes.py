"""Attributes of faces, such as Smiling and Eyeglasses: the published annotations of CelebA and CelebA-HQ."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from idgan.data.sources import MAX_FILE_BYTES, FileSource
from idgan.errors import DataError
from idgan.files import read_regular_file

__all__ = ["Attributes", "attributes_of", "parse_attributes"]


class Attributes(NamedTuple):
    """Attributes of the images of a data set, in their order.

    Attributes:
        names: names of the A attributes.
        values: bool (N, A). True means that the image has the attribute.
    """

    names: tuple[str, ...]
    values: np.ndarray


def parse_attributes(content: bytes, name: str) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The names of attributes, and the stem of an image's file name -> bool (A,), of the annotation file `name`.

    The published file has the number of images, the names, and a row for each image: its name, and 1 or -1 for each
    attribute. A file with commas and without the number, as mirrors have it, is read too.

    Raises:
        DataError: it is something else.
    """
    try:
        lines = [line.replace(",", " ").split() for line in content.decode().splitlines()]
        lines = [words for words in lines if words]
        header, *rows = lines[1:] if len(lines[0]) == 1 else lines
        names = tuple(header[header[0] == "image_id" :])
        values = {PurePosixPath(words[0]).stem: np.array(words[1:], np.int64) > 0 for words in rows}
        if not names or any(value.shape != (len(names),) for value in values.values()):
            raise ValueError(f"rows do not have the {len(names)} attributes of the header")
    except (ValueError, IndexError) as error:
        raise DataError(f"{name} cannot be read as a file of attributes: {error}") from error
    return names, values


def attributes_of(files: FileSource, images: Sequence[str], accepted: Sequence[str]) -> Attributes | None:
    """The attributes of `images`, from an annotation file among `files` or in the folder that holds them.

    Args:
        images: names of images, in order.
        accepted: names that the annotation file may have.

    Returns:
        None if there is no such file, or if it lacks one of the images.

    Raises:
        DataError: the file is damaged.
    """
    inside = next((name for name in files.names if PurePosixPath(name).name in accepted), None)
    folder = files.around
    beside = next((folder / name for name in accepted if (folder / name).is_file()), None) if folder else None
    if inside is not None:
        names, rows = parse_attributes(files.read(inside), inside)
    elif beside is not None:
        names, rows = parse_attributes(read_regular_file(beside, MAX_FILE_BYTES), beside.name)
    else:
        return None
    stems = [PurePosixPath(name).stem for name in images]
    if not all(stem in rows for stem in stems):
        return None
    return Attributes(names, np.array([rows[stem] for stem in stems]))
