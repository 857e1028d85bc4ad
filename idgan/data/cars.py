"""Stanford Cars (Krause et al., 2013): 16,185 photos, cut to the published bounding box of the car; boxes below 64 px are dropped."""

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from idgan.data.image_set import ImageSet, Plan, few
from idgan.errors import DataError, MissingDependencyError

__all__ = ["CARS", "Box", "read_boxes"]

SMALLEST = 64
FOLDERS = {"cars_train_annos": "cars_train", "cars_test_annos": "cars_test", "cars_test_annos_withlabels": "cars_test"}
"""Name of an annotation file -> the folder of its images; cars_annos.mat, the file for all images, gives their folder itself."""


@dataclass(frozen=True)
class Box:
    """A published bounding box, taken as (left, top, right, bottom) as it is written; what sticks out of the image is cut off."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def side(self):
        """The smaller one."""
        return min(self.right - self.left, self.bottom - self.top)

    def __call__(self, width, height):
        if self.left >= width or self.top >= height:
            raise ValueError(
                f"its bounding box begins at {self.left}, {self.top}, outside of its {width} x {height} px"
            )
        return max(self.left, 0), max(self.top, 0), min(self.right, width), min(self.bottom, height)


def read_boxes(content, name):
    """The content (bytes) of the annotation file `name` -> dict "folder/file.jpg" -> `Box`.

    Raises:
        DataError: it is not one of the published annotation files.
        MissingDependencyError: SciPy is needed.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingDependencyError(
            "the annotations of Stanford Cars need SciPy: pip install 'idgan[data]'"
        ) from error
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
        known = ", ".join(f"{stem}.mat" for stem in ("cars_annos", *FOLDERS))
        raise DataError(f"{name} cannot be read as an annotation file of Stanford Cars ({known}): {error!r}") from error


class Cars(ImageSet):
    """An image set whose crops come from annotation files, which lie among the images, beside them, or beside their archive."""

    def plan(self, files):
        boxes = {}
        for name, content in _annotations(files):
            boxes |= read_boxes(content, name)
        if not boxes:
            raise DataError(
                f"the annotations, such as cars_train_annos.mat, are neither in the source nor beside it. {self.origin}"
            )
        images = {"/".join(PurePosixPath(name).parts[-2:]): name for name in files.images}
        known = {name: boxes[key] for key, name in images.items() if key in boxes}
        crops = {name: box for name, box in known.items() if box.side >= SMALLEST}
        if not crops:
            raise DataError(
                f"no image has a box of {SMALLEST} px or more: they are looked for as {next(iter(boxes))}. {self.origin}"
            )
        return Plan(crops, self.notes(list(known)) + list(_left_out(images, boxes, known, crops)))


def _annotations(files):
    """Pairs (file name, content) of the annotation files."""
    yield from ((name, files.read(name)) for name in files.names if _is_annotation(PurePosixPath(name)))
    for folder in (files.around, files.around / "devkit") if files.around else ():
        yield from ((path.name, path.read_bytes()) for path in sorted(folder.glob("*.mat")) if _is_annotation(path))


def _is_annotation(path):
    return path.suffix == ".mat" and path.stem in ("cars_annos", *FOLDERS)


def _left_out(images, boxes, known, crops):
    """Sentences on the images without annotation, the annotations without image, and the boxes that are too small."""
    bare = Counter(PurePosixPath(key).parent.name for key in images if key not in boxes)
    yield from (f"{count:,} images in {folder}/ have no annotation and are left out" for folder, count in bare.items())
    if absent := [key for key in boxes if key not in images]:
        yield f"{len(absent):,} annotated images are not there: {few(absent)}"
    if dropped := len(known) - len(crops):
        yield f"dropped because a side of their bounding box is below {SMALLEST} px: {dropped:,}"


CARS = Cars(
    "cars",
    resolution=64,
    crop=None,
    count=16_185,
    origin="Stanford Cars is cars_train.tgz, cars_test.tgz, car_devkit.tgz and cars_test_annos_withlabels.mat, or car_ims.tgz and "
    "cars_annos.mat. They were at https://ai.stanford.edu/~jkrause/cars/car_dataset.html, which is gone; mirrors hold the same files",
)
