"""Opening of a data set by its name."""

from pathlib import Path

from idgan.data.dataset import DATASETS, Dataset, check_dataset
from idgan.data.image_folder import open_images
from idgan.data.image_set import FOLDER
from idgan.data.sources import HUGGING_FACE
from idgan.errors import InvalidInputError
from idgan.registry import first_parameter

__all__ = ["open_dataset"]


def open_dataset(dataset: str | Dataset, path: str | Path | None = None, resolution: int = 64) -> Dataset:
    """The data set of a name, or the given `Dataset` object itself.

    Args:
        dataset: a key of `DATASETS`, "folder" for any images at `path`, "hf:org/name" for a data set of the Hugging
            Face Hub, or a `Dataset` object, which is checked and returned.
        path: the data set's files. None if the package generates them, or finds them in `data_directory()`. For natural
            images: a prepared directory, or unprepared images (a folder, a zip or uncompressed tar archive,
            "hf:org/name"), which are cropped like those of the data set.
        resolution: height and width for "folder" and "hf:", in pixels. A prepared directory must have it.

    Raises:
        InvalidInputError: an unknown name, a path that the data set does not take, or an object that is not a data set.
        DataError: the files are missing or wrong.
        MissingDependencyError: "hf:" needs the library `datasets`.
    """
    if not isinstance(dataset, str):
        if path is not None:
            raise InvalidInputError(f"a Dataset object takes no path, got {str(path)!r}")
        return check_dataset(dataset)
    if dataset.startswith(HUGGING_FACE):
        return open_images(FOLDER.name, resolution, path or dataset)
    if dataset == FOLDER.name:
        if path is None:
            raise InvalidInputError('the data set "folder" needs a path to a folder of images')
        return open_images(FOLDER.name, resolution, path)
    if dataset not in DATASETS:
        raise InvalidInputError(f"{DATASETS.unknown(dataset)}, folder, hf:org/name")
    open_it = DATASETS[dataset]
    if first_parameter(open_it):
        return check_dataset(open_it(path))
    if path is not None:
        raise InvalidInputError(f"the data set {dataset!r} takes no path, got {str(path)!r}")
    return check_dataset(open_it())
