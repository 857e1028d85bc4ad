"""Stanford Cars (Krause et al., 2013): 16,185 photos, cut to the published bounding box of the car.

Boxes below 64 px are dropped.
"""

import io
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from idgan.data.image_folder import register_image_set
from idgan.data.image_set import Crop, ImageSet, Plan, few
from idgan.data.sources import MAX_FILE_BYTES, FileSource
from idgan.errors import DataError, MissingDependencyError, missing_extra
from idgan.files import read_regular_file

__all__ = ["CARS", "Box", "read_boxes"]

SMALLEST = 64
FOLDERS = {"cars_train_annos": "cars_train", "cars_test_annos": "cars_test", "cars_test_annos_withlabels": "cars_test"}
"""Name of an annotation file -> folder of its images."""
ALL_IMAGES = "cars_annos"
"""Name of the annotation file for all images. It gives their folder itself."""


@dataclass(frozen=True)
class Box:
    """A published bounding box, taken as (left, top, right, bottom) as it is written.

    A part outside the image is cut off. A box that is mostly outside belongs to another image.
    """

    left: int
    top: int
    right: int
    bottom: int

    @property
    def side(self) -> int:
        """The smaller side."""
        return min(self.right - self.left, self.bottom - self.top)

    @property
    def key(self) -> str:
        return f"Box(left={self.left}, top={self.top}, right={self.right}, bottom={self.bottom})"

    def __call__(self, width: int, height: int) -> tuple[int, int, int, int]:
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, width), min(self.bottom, height)
        inside = max(right - left, 0) * max(bottom - top, 0)
        if 2 * inside < (self.right - self.left) * (self.bottom - self.top):
            raise ValueError(
                f"its bounding box {self.left}, {self.top} to {self.right}, {self.bottom} is mostly outside of its "
                f"{width} x {height} px: the annotations belong to other images"
            )
        return left, top, right, bottom


def read_boxes(content: bytes, name: str) -> dict[str, Box]:
    """The boxes in the content of the annotation file `name`, by "folder/file.jpg".

    Raises:
        DataError: it is not one of the published annotation files.
        MissingDependencyError: SciPy is needed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError(missing_extra("the annotations of Stanford Cars need SciPy", "data")) from error
    try:
        rows = loadmat(io.BytesIO(content), squeeze_me=True)["annotations"]
        sides = [rows[f"bbox_{side}"].tolist() for side in ("x1", "y1", "x2", "y2")]
        if "relative_im_path" in rows.dtype.names:
            paths = rows["relative_im_path"].tolist()
        else:
            folder = FOLDERS[PurePosixPath(name).stem]
            paths = [f"{folder}/{file}" for file in rows["fname"].tolist()]
        return {path: Box(*map(int, box)) for path, *box in zip(paths, *sides)}
    except Exception as error:  # damaged files make the reader raise almost anything
        known = ", ".join(f"{stem}.mat" for stem in (ALL_IMAGES, *FOLDERS))
        raise DataError(f"{name} cannot be read as an annotation file of Stanford Cars ({known}): {error!r}") from error


class Cars(ImageSet):
    """An image set with crops from annotation files.

    These are among the images, or in the folder that holds the images or their archive.
    """

    def plan(self, files: FileSource) -> Plan:
        images = {"/".join(PurePosixPath(name).parts[-2:]): name for name in files.images}
        boxes: dict[str, Box] = {}
        for name, content in _annotations(files, {PurePosixPath(key).parent.name for key in images}):
            boxes = read_boxes(content, name) | boxes
        if not boxes:
            raise DataError(
                "the annotations of these images, such as cars_train_annos.mat, are neither in the source "
                "nor in the folder that holds it. Images that are cut to their boxes already need none: "
                f"`idgan prepare folder`. {self.origin}"
            )
        known = {name: boxes[key] for key, name in images.items() if key in boxes}
        crops: dict[str, Crop] = {name: box for name, box in known.items() if box.side >= SMALLEST}
        if not crops:
            raise DataError(
                f"no image has a box of {SMALLEST} px or more. "
                f"Images are looked for as {next(iter(boxes))}. {self.origin}"
            )
        left_out = list(_left_out(images, boxes, known, crops))
        return Plan(crops, files.notes + self.notes(list(known)) + left_out)


def _annotations(files: FileSource, folders: set[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of the annotation files for images in `folders`.

    Those of the source come before those in the folder that holds it.
    """
    for name in files.names:
        if _annotates(PurePosixPath(name), folders):
            yield name, files.read(name)
    for folder in (files.around, files.around / "devkit") if files.around else ():
        for path in sorted(folder.glob("*.mat")):
            if _annotates(path, folders) and path.is_file():
                yield path.name, read_regular_file(path, MAX_FILE_BYTES)


def _annotates(path: PurePath, folders: set[str]) -> bool:
    """Whether an annotation file is called `path`, for images in one of `folders`."""
    return path.suffix == ".mat" and (path.stem == ALL_IMAGES or FOLDERS.get(path.stem) in folders)


def _left_out(
    images: Mapping[str, str], boxes: Mapping[str, Box], known: Mapping[str, Box], crops: Mapping[str, Crop]
) -> Iterator[str]:
    """Sentences on images without annotation, annotations without image, and boxes that are too small."""
    bare = Counter(PurePosixPath(key).parent.name for key in images if key not in boxes)
    for folder, count in bare.items():
        yield f"{count:,} images in {folder}/ have no annotation and are left out"
    if absent := [key for key in boxes if key not in images]:
        yield f"{len(absent):,} annotated images are missing: {few(absent)}"
    if dropped := len(known) - len(crops):
        yield f"dropped because a side of their bounding box is below {SMALLEST} px: {dropped:,}"


CARS = register_image_set(
    Cars(
        "cars",
        crop=None,
        title="Stanford Cars: the bounding boxes with sides of at least 64 px, resized by Lanczos. The annotation "
        "files (cars_train_annos.mat, ...) must be in SOURCE or in the folder that holds SOURCE.",
        example="stanford_cars/",
        count=16_185,
        origin="Stanford Cars is cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat, or "
        "car_ims.tgz and cars_annos.mat. They were at https://ai.stanford.edu/~jkrause/cars/car_dataset.html, which is "
        "gone. Mirrors hold the same files",
    )
)
