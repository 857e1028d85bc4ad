"""Data sets. Each is a dataset: `resolution`, `image_channels`, `len()`, `images(indices, rng)` -> (N, C, H, W) float32 in [0, 1]."""

from functools import partial

from idgan.data.archives import HUGGING_FACE
from idgan.data.batches import Batch, Batches, Prefetcher
from idgan.data.dataset import Dataset, check_dataset, content_key
from idgan.data.dsprites import DSprites
from idgan.data.dsprites_variants import ColorDSprites, NoisyDSprites, ScreamDSprites, prepare_scream
from idgan.data.factors import FactorGrid
from idgan.data.image_folder import ImageFolder, PreparedImages, open_images
from idgan.data.prepare import prepare_images
from idgan.errors import InvalidInputError

__all__ = [
    "DATASETS",
    "Batch",
    "Batches",
    "ColorDSprites",
    "DSprites",
    "Dataset",
    "FactorGrid",
    "ImageFolder",
    "NoisyDSprites",
    "Prefetcher",
    "PreparedImages",
    "ScreamDSprites",
    "check_dataset",
    "content_key",
    "open_dataset",
    "open_images",
    "prepare_images",
    "prepare_scream",
]

DATASETS = {
    "dsprites": DSprites,
    "color-dsprites": lambda path=None: ColorDSprites(sprites=DSprites(path)),
    "noisy-dsprites": lambda path=None: NoisyDSprites(sprites=DSprites(path)),
    "scream-dsprites": ScreamDSprites,
    "celeba-64": partial(open_images, "celeba", 64),
    "celeba-128": partial(open_images, "celeba", 128),
    "celeba-256": partial(open_images, "celeba", 256),
    "celebahq-1024": partial(open_images, "celebahq", 1024),
    "chairs-64": partial(open_images, "chairs", 64),
    "cars-64": partial(open_images, "cars", 64),
}
"""Name -> function of an optional path that opens it: the published npz for dSprites, the painting for scream-dsprites, for natural
images what `open_images` takes."""


def open_dataset(name, path=None, resolution=64):
    """The data set called `name`: a key of `DATASETS`, "folder" for any images at `path`, or "hf:org/name" of the Hugging Face Hub.

    Args:
        path: where its files are, if it has any that the package does not make or find itself. For natural images: a prepared directory, or
            unprepared images (a folder, a zip archive, "hf:org/name"), which are cropped as those of the data set are.
        resolution: of "folder" and "hf:"; a directory that was prepared must have it.

    Raises:
        InvalidInputError: an unknown name, or "folder" without a path.
        DataError: its files are missing or not what they should be.
        MissingDependencyError: "hf:" needs the library `datasets`.
    """
    if not isinstance(name, str):
        return check_dataset(name)
    if name.startswith(HUGGING_FACE):
        return open_images("folder", resolution, name)
    if name == "folder":
        if path is None:
            raise InvalidInputError('the data set "folder" needs a path: that of a folder of images')
        return open_images("folder", resolution, path)
    if name not in DATASETS:
        raise InvalidInputError(f"unknown data set {name!r}; known: {', '.join(sorted(DATASETS))}, folder, hf:org/name")
    return DATASETS[name](path)
