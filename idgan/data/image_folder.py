"""Natural images as data sets, (N, 3, H, W) in [0, 1].

They are in a prepared directory, or are encoded images that are decoded at every access.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from idgan.data.attributes import Attributes
from idgan.data.dataset import DATASETS, Dataset
from idgan.data.directory import data_directory
from idgan.data.factors import check_indices
from idgan.data.image_set import FOLDER, IMAGE_SETS, Crop, ImageSet
from idgan.data.sources import HUGGING_FACE, PerProcess, open_files
from idgan.errors import DataError, check_integer
from idgan.files import read_json, user_path
from idgan.images import as_batch, as_rgb
from idgan.images.faces import Eyes

__all__ = ["ImageFolder", "PreparedImages", "cut", "open_images", "register_image_set"]

INDEX_FILE, ARRAY_FILE, IMAGES_FOLDER, PROGRESS_FILE = "index.json", "images.npy", "images", "progress.json"
ATTRIBUTES_FILE = "attributes.npy"
"""A prepared directory holds its index, and either one uint8 array (N, H, W, 3) or a folder of image files in the order
of their names. If the source has attributes, they are one bool array (N, A), and the index names them. A directory in
preparation holds the progress instead of the index."""

MIN_SIDE = 16
"""The smallest crop in pixels. A smaller one shows nothing."""
MAX_MEMORY = 1 << 30
"""Bytes in the largest array that is assumed to stay in memory once it was read."""

AnyImageSet = TypeVar("AnyImageSet", bound=ImageSet)


def register_image_set(image_set: AnyImageSet) -> AnyImageSet:
    """Register a set of natural images: its preparation, its command `idgan prepare NAME`, and its data sets
    NAME-RESOLUTION.

    Raises:
        InvalidInputError: another set has that name.
    """
    IMAGE_SETS.add(image_set.name, image_set)
    module = sys._getframe(1).f_globals["__name__"]  # the registry reports it as the origin
    for resolution in image_set.resolutions:
        name = f"{image_set.name}-{resolution}"
        DATASETS.add(name, _opener(image_set.name, resolution, module))
    return image_set


def _opener(name: str, resolution: int, module: str) -> Callable[..., Dataset]:
    def open_set(path: str | Path | None = None) -> Dataset:
        return open_images(name, resolution, path)

    open_set.__module__, open_set.__qualname__ = module, f"{name}-{resolution}"
    return open_set


def open_images(kind: str, resolution: int, path: str | Path | None = None) -> "ImageFolder | PreparedImages":
    """The images of the set `kind` at `resolution`.

    Args:
        kind: a key of `IMAGE_SETS`.
        resolution: height and width of the images, in pixels.
        path: a directory that `idgan prepare` made from images of `kind`, or from any images ("folder"). A directory of
            an older version that does not name its set is accepted too. Or unprepared images, which are cropped as
            those of `kind` and decoded at every access: a folder (torchvision's layout too), a zip archive, or
            "hf:org/name". None is the directory where `idgan prepare` puts them.

    Raises:
        InvalidInputError: an unknown kind.
        DataError: nothing is there, it is something else, or it was prepared from images of another set. The message
            says how to prepare it.
    """
    image_set = IMAGE_SETS[kind]
    if path is None:
        path = data_directory() / f"{kind}-{resolution}"
        if not path.exists():
            option = f" --resolution {resolution}" if resolution != image_set.resolution else ""
            raise DataError(
                f"{path} does not exist: run `idgan prepare {kind} SOURCE{option}`. {image_set.origin}".rstrip()
            )
    if str(path).startswith(HUGGING_FACE):
        return ImageFolder(path, resolution, kind)
    path = user_path(path)
    if not (path / INDEX_FILE).is_file():
        if (path / PROGRESS_FILE).is_file():
            raise DataError(f"{path} is not finished: run the same `idgan prepare` again to continue it")
        return ImageFolder(path, resolution, kind)
    prepared = PreparedImages(path)
    if FOLDER.name not in (kind, prepared.kind) and prepared.kind not in (None, kind):
        raise DataError(
            f"{path} holds images of {prepared.kind}, but the data set is {kind}-{resolution}: choose another "
            f"directory, or run `idgan prepare {kind} SOURCE`"
        )
    if prepared.resolution != resolution:
        raise DataError(
            f"{path} was prepared at {prepared.resolution} px: prepare it again, with --resolution {resolution}"
        )
    return prepared


class _Images(Dataset):
    """A data set of color images. A subclass defines `resolution`, `eyes`, `__len__` and `pixels`.

    `eyes` is where the eyes are in each image, as the set of images knows it. None if they are not aligned faces.
    """

    image_channels = 3
    streams = True
    eyes: Eyes | None = None

    def images(self, indices: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Images (N, 3, H, W) at `indices` (N,), on their device. Nothing is random, and `rng` is ignored.

        Raises:
            InvalidInputError: `indices` is not 1-D, not of integers, or outside [0, len(self)).
            DataError: a file can no longer be read.
        """
        rows = check_indices(indices, len(self)).cpu().numpy()
        pixels = torch.from_numpy(self.pixels(rows)).to(indices.device).movedim(-1, 1)
        return as_batch(pixels, channels=3, resolution=self.resolution) if len(rows) else pixels.float()

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        """Images at `rows` (N,): uint8 (N, H, W, 3)."""
        raise NotImplementedError


class PreparedImages(_Images):
    """A directory that `idgan prepare` made.

    Up to 256 px its images are one array, which is mapped into memory. Above, they are files, which threads decode.

    Attributes:
        path: the directory.
        index: its kind, resolution, names (of the images it was made from), skipped, notes and sha256.

    Raises:
        DataError: it is not such a directory, or not whole.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = user_path(path).absolute()
        try:
            self.index: dict[str, Any] = read_json(self.path / INDEX_FILE)
            self.resolution, self._count = self.index["resolution"], len(self.index["names"])
            check_integer(1, resolution=self.resolution)
            self._images: np.ndarray | ImageFolder
            if self.index["storage"] == ARRAY_FILE:
                array = np.load(self.path / ARRAY_FILE, mmap_mode="r")
                self._images, self.streams = array, array.nbytes > MAX_MEMORY
                shape = (self._count, self.resolution, self.resolution, 3)
                whole = array.shape == shape and array.dtype == np.uint8
            else:
                self._images = ImageFolder(self.path / IMAGES_FOLDER, self.resolution)
                whole = len(self._images) == self._count
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            raise DataError(
                f"{path} is not a directory that `idgan prepare` made, or it is damaged: {error}"
            ) from error
        if not whole:
            raise DataError(
                f"{path} does not hold the {self._count:,} images of its {INDEX_FILE}: delete it and prepare it again"
            )
        kind = self.index.get("kind")
        self.eyes = IMAGE_SETS[kind].eyes if kind in IMAGE_SETS else None  # another package may have defined it

    def __reduce__(self) -> tuple[Any, ...]:
        return PreparedImages, (self.path,)  # a pickle of the mapped array would hold all its pixels

    def __len__(self) -> int:
        return self._count

    @property
    def kind(self) -> str | None:
        """The set that the images are from, a key of `IMAGE_SETS`. None if an old directory does not say."""
        return self.index.get("kind")

    @property
    def attributes(self) -> Attributes | None:
        """The published attributes of the images. None if the source had none.

        Prepare an older directory again, with the same command, to add them. The images are not prepared again.

        Raises:
            DataError: their file is damaged.
        """
        if "attributes" not in self.index:
            return None
        names = tuple(self.index["attributes"])
        try:
            values = np.load(self.path / ATTRIBUTES_FILE)
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path / ATTRIBUTES_FILE} cannot be read: {error}") from error
        if values.shape != (len(self), len(names)) or values.dtype != bool:
            raise DataError(
                f"{self.path / ATTRIBUTES_FILE} does not hold {len(names)} attributes of {len(self):,} images"
            )
        return Attributes(names, values)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        return self._images.pixels(rows) if isinstance(self._images, ImageFolder) else self._images[rows]


class ImageFolder(_Images):
    """Encoded images. Threads decode, crop and resize (Lanczos) them at every access.

    Args:
        path: a folder, zip archive or "hf:org/name" (see `open_files`).
        resolution: height and width after resizing, in pixels.
        kind: the set (a key of `IMAGE_SETS`) that defines the crop. "folder" is the center square.

    Raises:
        InvalidInputError: an unknown kind, or a resolution that is not a positive integer.
        DataError: there are no images, or they are in a compressed tar archive, which allows no random access.
    """

    def __init__(self, path: str | Path, resolution: int, kind: str = "folder") -> None:
        check_integer(1, resolution=resolution)
        self.resolution = int(resolution)
        self._files = open_files(path)
        if self._files.sequential:
            raise DataError(f"{path} is slow to read out of order: run `idgan prepare {kind} {path}`, or unpack it")
        self.eyes = IMAGE_SETS[kind].eyes
        self._crops = list(IMAGE_SETS[kind].plan(self._files).crops.items())
        # Pillow decodes and resizes without Python's lock, so threads help.
        self._threads = PerProcess(partial(ThreadPoolExecutor, min(8, os.cpu_count() or 1)))

    def __len__(self) -> int:
        return len(self._crops)

    def pixels(self, rows: np.ndarray) -> np.ndarray:
        if not len(rows):
            return np.empty((0, self.resolution, self.resolution, 3), np.uint8)
        return np.stack(list(self._threads().map(self._one, rows.tolist())))

    def _one(self, row: int) -> np.ndarray:
        name, crop = self._crops[row]
        try:
            return np.array(cut(as_rgb(self._files.read(name)), crop, self.resolution)[0])
        except Exception as error:  # damaged archives make readers raise almost anything
            raise DataError(f"{name} cannot be used: {error}. `idgan prepare` leaves such images out") from error


def cut(image: Image.Image, crop: Crop, resolution: int) -> tuple[Image.Image, int]:
    """The part of an RGB image inside `crop`, resized (Lanczos), and the smaller side of that part in pixels.

    Raises:
        ValueError: the image has not the size that `crop` expects, or is too small.
    """
    box = crop(*image.size)
    side = min(box[2] - box[0], box[3] - box[1])
    if side < MIN_SIDE:
        raise ValueError(f"it is {image.width} x {image.height} px, too small")
    image = image.crop(box)
    size = (resolution, resolution)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS), side
