"""Natural images as sources, (N, 3, H, W) float32 in [0, 1]: what `idgan prepare` made, or encoded images decoded at every access."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from idgan.data.archives import HUGGING_FACE, open_files
from idgan.data.cars import CARS
from idgan.data.celeba import CELEBA
from idgan.data.celeba_hq import CELEBA_HQ
from idgan.data.chairs import CHAIRS
from idgan.data.directory import data_directory
from idgan.data.image_set import FOLDER
from idgan.errors import DataError, InvalidInputError
from idgan.images import as_batch

__all__ = ["IMAGE_SETS", "ImageFolder", "PreparedImages", "cut", "decode", "open_images"]

IMAGE_SETS = {each.name: each for each in (CELEBA, CELEBA_HQ, CHAIRS, CARS, FOLDER)}
INDEX_FILE, ARRAY_FILE, IMAGES_FOLDER, PROGRESS_FILE = "index.json", "images.npy", "images", "progress.json"
"""A prepared directory holds its index, and either one uint8 array (N, H, W, 3) or a folder of image files in the order of their names; one
that is being prepared holds the progress instead of the index."""

MIN_SIDE = 16  # px; a crop that is smaller shows nothing
MEMORY = 1 << 30  # bytes; an array up to this is taken to stay in memory once it was read


def open_images(kind, resolution, path=None):
    """The images of the set `kind` (a key of `IMAGE_SETS`) at `resolution`, as a source.

    Args:
        path: a directory that `idgan prepare` made; or unprepared images, which are cropped as those of `kind` and decoded at every access:
            a folder (torchvision's layout too), a zip archive, or "hf:org/name". None: where `idgan prepare` puts them.

    Raises:
        DataError: nothing is there, or it is something else; the message says how to prepare it.
    """
    if path is None:
        path = data_directory() / f"{kind}-{resolution}"
        if not path.exists():
            command = f"idgan prepare {kind} SOURCE" + (
                f" --resolution {resolution}" if resolution != IMAGE_SETS[kind].resolution else ""
            )
            raise DataError(f"{path} is not there: run `{command}`. {IMAGE_SETS[kind].origin}".rstrip())
    if str(path).startswith(HUGGING_FACE) or not (Path(path) / INDEX_FILE).exists():
        if (Path(path) / PROGRESS_FILE).exists():
            raise DataError(f"{path} is not finished: run the same `idgan prepare` again to continue it")
        return ImageFolder(path, resolution, kind)
    source = PreparedImages(path)
    if source.resolution != resolution:
        raise DataError(
            f"{path} was prepared at {source.resolution} px: prepare it again, with --resolution {resolution}"
        )
    return source


class _Images:
    """A source over pixels: a subclass knows `resolution`, `__len__`, and `pixels(rows)` -> uint8 (N, H, W, 3).

    `streams`: images come from the disk at every access, so that it pays to ask for them early.
    """

    image_channels = 3
    streams = True

    def images(self, indices, rng=None):
        """(N,) long indices -> (N, 3, H, W) images on the device of `indices`. Nothing is random: `rng` is ignored.

        Raises:
            InvalidInputError: `indices` is not 1-D, not of integers, or not within [0, len(self)).
            DataError: a file cannot be read any more.
        """
        if indices.ndim != 1 or indices.dtype not in (torch.int64, torch.int32):
            raise InvalidInputError(
                f"indices must be 1-D and of integers, got shape {tuple(indices.shape)} of {indices.dtype}"
            )
        rows = indices.cpu().numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise InvalidInputError(f"indices must be in [0, {len(self)}), got {rows.min()} to {rows.max()}")
        pixels = torch.from_numpy(self.pixels(rows)).to(indices.device).movedim(-1, 1)
        return as_batch(pixels, channels=3, resolution=self.resolution) if len(rows) else pixels.float()


class PreparedImages(_Images):
    """The directory `path` that `idgan prepare` made. Up to 256 px one array, mapped into memory; above, files decoded by threads.

    `index` is what is known of it: kind, resolution, names (of the images it was made from), skipped, notes, sha256.

    Raises:
        DataError: it is not such a directory, or not whole.
    """

    def __init__(self, path):
        path = Path(path)
        try:
            self.index = json.loads((path / INDEX_FILE).read_text())
            self.resolution, self._count = self.index["resolution"], len(self.index["names"])
            if self.index["storage"] == ARRAY_FILE:
                self._array = np.load(path / ARRAY_FILE, mmap_mode="r")
                self.streams = self._array.nbytes > MEMORY
                whole = (
                    self._array.shape == (self._count, self.resolution, self.resolution, 3)
                    and self._array.dtype == np.uint8
                )
            else:
                self._array, self._folder = None, ImageFolder(path / IMAGES_FOLDER, self.resolution)
                whole = len(self._folder) == self._count
        except (OSError, ValueError, KeyError, TypeError, DataError) as error:
            raise DataError(
                f"{path} is not a directory that `idgan prepare` made, or it is damaged: {error}"
            ) from error
        if not whole:
            raise DataError(
                f"{path} does not hold the {self._count:,} images of its {INDEX_FILE}: delete it and prepare it again"
            )

    def __len__(self):
        return self._count

    def pixels(self, rows):
        return self._folder.pixels(rows) if self._array is None else self._array[rows]


class ImageFolder(_Images):
    """Encoded images, cropped and resized (Lanczos) at every access, by threads.

    Args:
        path: a folder, zip archive or "hf:org/name" (see `open_files`).
        resolution: what they are resized to.
        kind: the set (a key of `IMAGE_SETS`) whose crop is used; "folder" is the center square.

    Raises:
        DataError: there are no images, or they lie in a compressed tar archive, which allows no random access.
    """

    def __init__(self, path, resolution, kind="folder"):
        self.resolution = resolution
        self._files = open_files(path)
        if self._files.sequential:
            raise DataError(f"{path} is slow to read out of order: run `idgan prepare {kind} {path}`, or unpack it")
        self._crops = list(IMAGE_SETS[kind].plan(self._files).crops.items())

    def __len__(self):
        return len(self._crops)

    @cached_property
    def _threads(self):
        return ThreadPoolExecutor(
            min(8, os.cpu_count() or 1)
        )  # Pillow decodes and resizes without holding Python's lock

    def pixels(self, rows):
        side = self.resolution
        return (
            np.stack(list(self._threads.map(self._one, rows.tolist())))
            if len(rows)
            else np.empty((0, side, side, 3), np.uint8)
        )

    def _one(self, row):
        name, crop = self._crops[row]
        try:
            return np.array(cut(decode(self._files.read(name)), crop, self.resolution)[0])
        except Exception as error:
            raise DataError(f"{name} cannot be used: {error}. `idgan prepare` leaves such images out") from error


# ------------------------------------------------------------------ one image


def decode(content):
    """The bytes of an image file -> PIL image of mode RGB: the first frame, upright by its EXIF tag, alpha laid over white.

    Raises:
        ValueError, OSError, or whatever else a damaged file makes Pillow raise.
    """
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:  # its message shows an object
        raise ValueError("it is no image, or of an unknown format") from None
    with image:
        if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"its {image.width} x {image.height} pixels are more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}"
            )
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"it is of mode {image.mode}, where nothing says which value is white")
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB")


def cut(image, crop, resolution):
    """An RGB image -> the box that `crop` says, resized (Lanczos), and the smaller side of that box.

    Raises:
        ValueError: the image is odd: not of the size that `crop` expects, or too small.
    """
    box = crop(*image.size)
    side = min(box[2] - box[0], box[3] - box[1])
    if side < MIN_SIDE:
        raise ValueError(f"it is {image.width} x {image.height} px, too small")
    image = image.crop(box)
    size = (resolution, resolution)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS), side
