"""A published set of images: how many there are, where to get them, and which square of an image is used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Protocol

from idgan.data.sources import FileSource
from idgan.errors import DataError, InvalidInputError
from idgan.images.faces import Eyes
from idgan.registry import Registry

__all__ = [
    "FOLDER",
    "IMAGE_SETS",
    "CenterCrop",
    "CenterSquare",
    "Crop",
    "ImageSet",
    "Numbered",
    "Plan",
    "Whole",
    "eyes_of",
    "few",
]

Box = tuple[int, int, int, int]
"""Left, top, right and bottom, in pixels."""


class Crop(Protocol):
    """Function of the width and height of an image: the box of the part that is used.

    It raises ValueError for an image of an unexpected size.
    """

    @property
    def key(self) -> str:
        """Text that identifies the crop. Prepared directories record its hash, so it must never change."""
        ...

    def __call__(self, width: int, height: int) -> Box: ...


@dataclass
class Plan:
    """What to make of a source of files.

    Attributes:
        crops: name of an image -> its crop.
        notes: sentences on what is missing or left out.
    """

    crops: dict[str, Crop]
    notes: list[str] = field(default_factory=list)


def no_gaps(names: Sequence[str]) -> str:
    """The text on missing images of a set with unknown names: empty."""
    return ""


@dataclass(frozen=True)
class ImageSet:
    """A set of images as it is published. `register_image_set` makes its data sets and the command that prepares them.

    Attributes:
        name: its name, as in `idgan prepare NAME`. The data sets are called NAME-RESOLUTION.
        crop: crop of each image. None if a subclass finds the crops.
        resolutions: resolutions of its data sets. The first is the default of its preparation.
        title: one sentence on what is prepared, for `idgan prepare NAME --help`.
        example: a typical source, for the same text.
        count: number of published images. None if unknown.
        origin: one sentence on where to get them.
        within: images are looked for in folders with names that begin like this, if there are any.
        gaps: function of the images' names that returns a text on missing images, or "".
        eyes: centers (x, y) of the left and the right eye in the prepared square, in fractions of its side. None if
            the images are not aligned faces.
        attribute_files: names that the file with the attributes of the images may have.
    """

    name: str
    crop: Crop | None
    resolutions: tuple[int, ...] = (64,)
    title: str = "Images, cropped and resized by Lanczos."
    example: str = "images.zip"
    count: int | None = None
    origin: str = ""
    within: str = ""
    gaps: Callable[[Sequence[str]], str] = field(default=no_gaps, repr=False)
    eyes: Eyes | None = None
    attribute_files: tuple[str, ...] = ()

    @property
    def resolution(self) -> int:
        """The default resolution of its preparation."""
        return self.resolutions[0]

    def plan(self, files: FileSource) -> Plan:
        """The `Plan` for `files`.

        Raises:
            DataError: there is no image.
        """
        names = [
            name
            for name in files.images
            if any(part.startswith(self.within) for part in PurePosixPath(name).parts[:-1])
        ]
        names = names or files.images
        if not names:
            raise DataError(
                ". ".join([f"the source has no images of {self.name}", *files.notes, self.origin]).rstrip(". ")
            )
        assert self.crop is not None, "a set without a crop overrides `plan`"
        return Plan(dict.fromkeys(names, self.crop), files.notes + self.notes(names))

    def of_side(self, side: int | None) -> "ImageSet":
        """The set with images of `side` x `side` in place of the published size. None is the published size.

        Raises:
            InvalidInputError: the images of the set are cut, so that their size is not free.
        """
        if side is None:
            return self
        if not isinstance(self.crop, Whole):
            raise InvalidInputError(f"images of {self.name} have no other size, got the source side {side}")
        return replace(self, crop=Whole(side))

    def notes(self, names: Sequence[str]) -> list[str]:
        """Sentences on how the images called `names` differ from the published ones."""
        if self.count is None or len(names) == self.count:
            return []
        if len(names) > self.count:
            return [f"{len(names):,} images are more than the {self.count:,} published ones"]
        gaps = self.gaps(names)
        missing = f"{self.count - len(names):,} of the {self.count:,} published images are missing"
        return [f"{missing}{f' ({gaps})' if gaps else ''}. {self.origin}"]


IMAGE_SETS: Registry[ImageSet] = Registry("image set")
"""Name -> `ImageSet`. `register_image_set` adds to it."""


def eyes_of(dataset: str | None) -> Eyes | None:
    """Where the eyes are in the images of the data set called `dataset`. None if it is no set of aligned faces."""
    name = (dataset or "").rpartition("-")[0]
    return IMAGE_SETS[name].eyes if name in IMAGE_SETS else None


# ------------------------------------------------------------------ crops


@dataclass(frozen=True)
class CenterCrop:
    """The center square of `side` px of an image of `width` x `height`, or its equivalent in a resized image.

    Half a pixel goes to the even margin, as torchvision's CenterCrop rounds.
    """

    side: int
    width: int
    height: int

    @property
    def key(self) -> str:
        return f"CentreCrop(side={self.side}, width={self.width}, height={self.height})"

    def __call__(self, width: int, height: int) -> Box:
        if abs(height - width * self.height / self.width) >= 1:
            raise ValueError(f"it is {width} x {height}, not {self.width} x {self.height} or that in another size")
        side = round(width * self.side / self.width)
        left, top = round((width - side) / 2), round((height - side) / 2)
        return left, top, left + side, top + side


@dataclass(frozen=True)
class Whole:
    """The whole image, which must be of `side` x `side`."""

    side: int

    @property
    def key(self) -> str:
        return f"Whole(side={self.side})"

    def __call__(self, width: int, height: int) -> Box:
        if (width, height) != (self.side, self.side):
            raise ValueError(f"it is {width} x {height}, not {self.side} x {self.side}")
        return 0, 0, width, height


@dataclass(frozen=True)
class CenterSquare:
    """The largest square in the center of any image."""

    @property
    def key(self) -> str:
        return "CentreSquare()"

    def __call__(self, width: int, height: int) -> Box:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side


FOLDER = ImageSet(
    "folder",
    CenterSquare(),
    title="Any images: their center square, resized by Lanczos.",
    example="my-photos/",
)
"""Any images. `open_dataset("folder", path)` opens them at any resolution."""
IMAGE_SETS.add(FOLDER.name, FOLDER)

# ------------------------------------------------------------------ gaps


@dataclass(frozen=True)
class Numbered:
    """Names the gaps in files that are numbered: `count` numbers from `first` on."""

    first: int
    count: int

    def __call__(self, names: Sequence[str]) -> str:
        stems = (PurePosixPath(name).stem for name in names)
        found = {int(stem) for stem in stems if stem.isdecimal()}
        ranges: list[list[int]] = []
        for number in range(self.first, self.first + self.count) if found else ():
            if number in found:
                continue
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return few([f"{low} to {high}" if high > low else f"{low}" for low, high in ranges])


def few(texts: Sequence[str]) -> str:
    """The first five of `texts`, and how many more there are."""
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5:,} more" if len(texts) > 5 else "")
