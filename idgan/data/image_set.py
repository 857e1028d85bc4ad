"""What a published set of images is: how many there are, where to get them, and which square of an image is used."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from idgan.errors import DataError

__all__ = ["FOLDER", "CenterCrop", "CenterSquare", "ImageSet", "Numbered", "Plan", "Whole", "few"]


@dataclass
class Plan:
    """What is to be made of some files: `crops`, image name -> function (width, height) -> box, and `notes` on what is amiss."""

    crops: dict
    notes: list = field(default_factory=list)


@dataclass(frozen=True)
class ImageSet:
    """A set of images as it is published.

    Attributes:
        resolution: what it is prepared at unless told otherwise.
        crop: function (width, height) -> box (left, top, right, bottom) of the part that is used; ValueError for an image that is odd.
        count: how many images were published, None where nobody says.
        origin: a sentence on where to get them.
        within: images are looked for in folders whose names begin like this, if there are any.
        gaps: function of the images' names -> text that names missing ones, or "".
    """

    name: str
    resolution: int
    crop: Callable
    count: int | None = None
    origin: str = ""
    within: str = ""
    gaps: Callable = lambda names: ""

    def plan(self, files):
        """The `Plan` for `files` (see `open_files`).

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
            raise DataError(f"no images of {self.name} are there. {self.origin}".rstrip())
        return Plan(dict.fromkeys(names, self.crop), self.notes(names))

    def notes(self, names):
        """A list of sentences on how the images called `names` differ from what was published."""
        if self.count is None or len(names) == self.count:
            return []
        if len(names) > self.count:
            return [f"{len(names):,} images are more than the {self.count:,} published ones"]
        gaps = self.gaps(names)
        missing = f"{self.count - len(names):,} of the {self.count:,} published images are missing"
        return [f"{missing}{f' ({gaps})' if gaps else ''}. {self.origin}"]


# ------------------------------------------------------------------ crops


@dataclass(frozen=True)
class CenterCrop:
    """The center square of `side` px of an image of `width` x `height`, or its equivalent in one that was resized as a whole.

    Half a pixel goes to the even margin: the rounding of torchvision's CenterCrop.
    """

    side: int
    width: int
    height: int

    def __call__(self, width, height):
        if abs(height - width * self.height / self.width) >= 1:
            raise ValueError(f"it is {width} x {height}, not {self.width} x {self.height} or that in another size")
        side = round(width * self.side / self.width)
        left, top = round((width - side) / 2), round((height - side) / 2)
        return left, top, left + side, top + side


@dataclass(frozen=True)
class Whole:
    """All of an image, which must be of `side` x `side`."""

    side: int

    def __call__(self, width, height):
        if (width, height) != (self.side, self.side):
            raise ValueError(f"it is {width} x {height}, not {self.side} x {self.side}")
        return 0, 0, width, height


@dataclass(frozen=True)
class CenterSquare:
    """The largest square in the middle of any image."""

    def __call__(self, width, height):
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side


FOLDER = ImageSet("folder", 64, CenterSquare())

# ------------------------------------------------------------------ gaps


@dataclass(frozen=True)
class Numbered:
    """Names the gaps in files that are called by the `count` numbers from `first` on."""

    first: int
    count: int

    def __call__(self, names):
        stems = (PurePosixPath(name).stem for name in names)
        found = {int(stem) for stem in stems if stem.isdecimal()}
        ranges = []
        for number in range(self.first, self.first + self.count) if found else ():
            if number in found:
                continue
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return few([f"{low} to {high}" if high > low else f"{low}" for low, high in ranges])


def few(texts):
    """The first five of `texts`, and how many more there are."""
    return ", ".join(texts[:5]) + (f" and {len(texts) - 5:,} more" if len(texts) > 5 else "")
