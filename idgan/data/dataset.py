"""The `Dataset` protocol, and the registry of data sets."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError
from idgan.registry import Entry, Registry
from idgan.rng import make_rng

__all__ = ["DATASETS", "Dataset", "check_dataset", "content_key", "images_apart", "one_at_a_time", "register_dataset"]

PROBED_IMAGES = 16
PROBE = -5
"""Key of the random numbers behind the images that identify a data set."""


@runtime_checkable
class Dataset(Protocol):
    """Images that the package can train on and measure with.

    Any object with these attributes and methods is one. No base class is needed. A class that inherits from `Dataset`
    gets the defaults below.

    Attributes:
        resolution: height and width of an image, in pixels.
        image_channels: 1 (gray) or 3 (RGB).
        factors: the `FactorGrid` of ground-truth factors, one grid point for each image, or None.
        stochastic: whether `images` draws random numbers, so that two accesses to one image differ.
        streams: whether `images` reads from a disk or decodes files, so that prefetching helps.

    A data set of aligned faces may have one more attribute, `eyes`: where the eyes are in each image, see
    `idgan.images.faces.Eyes`. A model that is trained on it can crop photos in the same way. A stochastic data set may
    have a method `images_apart`, a faster way to the images of the function `images_apart`.
    """

    resolution: int
    image_channels: int
    factors: FactorGrid | None = None
    stochastic: bool = False
    streams: bool = False

    def __len__(self) -> int:
        """The number of images."""
        ...

    def images(self, indices: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """The images at `indices`, a long tensor (N,): float32 (N, image_channels, resolution, resolution) in [0, 1].

        They are on the device of `indices`. `rng` is a CPU generator. A stochastic data set draws all its random
        numbers from it.
        """
        ...


def images_apart(dataset: Dataset, indices: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
    """The images at `indices` (N,), each as if it was drawn alone: image i draws its random numbers from `rngs[i]`.

    They are made by the method `images_apart` of the data set's class, if it has one. Otherwise they are made one at a
    time on the CPU.
    """
    method = getattr(type(dataset), "images_apart", one_at_a_time)
    images: Tensor = method(dataset, indices, rngs)
    return images


def one_at_a_time(dataset: Dataset, indices: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
    """As `images_apart`, with one call of `dataset.images` for each image."""
    images = [dataset.images(index, rng) for index, rng in zip(indices.cpu().split(1), rngs, strict=True)]
    return torch.cat(images).to(indices.device)


DATASETS: Registry[Callable[..., Dataset]] = Registry("data set")
"""Name -> function that opens the data set. It takes the path to its files, or None to find or make them itself."""


def register_dataset(name: str) -> Callable[[Entry], Entry]:
    """Decorator that registers a data set under `name`.

    It decorates a function `(path) -> Dataset`, or a `Dataset` class with such a constructor. A function or constructor
    without parameters is for a data set without files.

    Raises:
        InvalidInputError: another data set has that name.
    """
    return DATASETS.register(name)


def check_dataset(dataset: object) -> Dataset:
    """`dataset`, if it has every attribute and method of `Dataset`.

    Raises:
        InvalidInputError: names the attributes that are missing.
    """
    names = ("resolution", "image_channels", "factors", "stochastic", "streams", "images", "__len__")
    if missing := [name for name in names if not hasattr(dataset, name)]:
        raise InvalidInputError(
            f"{type(dataset).__name__} is not a data set: it has no {', '.join(missing)}. "
            "Inherit from idgan.data.Dataset to get defaults for factors, stochastic and streams"
        )
    return dataset  # type: ignore[return-value]


def content_key(dataset: Dataset) -> str:
    """Hex sha256 of 16 images spread over `dataset`. It distinguishes data sets of equal name and size."""
    indices = torch.linspace(0, len(dataset) - 1, PROBED_IMAGES, dtype=torch.float64, device="cpu").long()
    images = dataset.images(indices, make_rng(PROBE))
    return hashlib.sha256((255 * images).round().byte().cpu().numpy().tobytes()).hexdigest()
