"""Faces in photos: where they are, and how they are cut like the images that a model learned from."""

import importlib.util
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from idgan.errors import InvalidInputError, MissingDependencyError, check_integer, missing_extra
from idgan.images.batch import decode, naming
from idgan.images.pixels import to_pil

__all__ = [
    "Eyes",
    "align_faces",
    "aligned_face",
    "check_eyes",
    "chosen_faces",
    "cut_faces",
    "cut_picture",
    "find_faces",
]

Eyes = tuple[tuple[float, float], tuple[float, float]]
"""Centers (x, y) of the eye on the left and of the eye on the right of a picture.

In a photo they are in pixels from its upper left corner. In the square that a model takes they are fractions of its
side.
"""

DETECTION_SIDES = (800, 1600)
"""Photos are searched at a size at which the longer side is in this range. The smallest face found has 80 pixels."""
TILTS = (0, 30, -30, 60, -60, 90, -90)
"""Degrees by which a photo is turned until a face is found. The detector knows upright faces only."""
SMALLEST = 4
"""Smallest distance between the eyes in pixels."""
LARGEST_RATIO = 8
"""Largest side of a face's square, relative to the longer side of the photo."""
LARGEST_CUT = 4096
"""Largest side in pixels at which a face is cut before it is reduced."""
PICTURE_SIDE = 256
"""Side in pixels of the picture that shows the cuts."""


def align_faces(images: Any, eyes: Eyes, side: int, face: int | None = None) -> list[Image.Image]:
    """Square pictures of the faces in `images`, with their eyes at the place `eyes`.

    Each face is turned, scaled and shifted. What is outside of the photo repeats its border.

    Args:
        images: photos in any form that `as_batch` takes.
        eyes: place of the eyes in the square.
        side: width and height of the squares, in pixels.
        face: number of the face in each photo, counted from 1 at the left. None takes all.

    Raises:
        InvalidInputError: a photo cannot be read, shows no face, or has fewer than `face` faces.
        MissingDependencyError: the face detector is not installed.
    """
    items = images if isinstance(images, (list, tuple)) else [images]
    return [square for item in items for square in cut_faces(item, eyes, side, face)[0]]


def cut_faces(item: Any, eyes: Eyes, side: int, face: int | None = None) -> tuple[list[Image.Image], list[Image.Image]]:
    """The squares of the faces in one item of `align_faces`, and for each photo in it a picture that shows the cuts."""
    check_integer(1, side=side)
    if face is not None:
        check_integer(1, face=face)
    squares, pictures = [], []
    for photo in to_pil(decode(item, 3, "white")):
        with naming(item):
            faces = find_faces(photo)
            squares += [aligned_face(photo, found, eyes, side) for found in chosen_faces(faces, face)]
            pictures.append(cut_picture(photo, faces, eyes, face))
    return squares, pictures


def check_eyes(eyes: Eyes | None) -> Eyes:
    """`eyes`, the place of the eyes in the images that a model learned from.

    Raises:
        InvalidInputError: it is None.
    """
    if eyes is None:
        raise InvalidInputError(
            "align (--align) needs a model of aligned faces, such as celeba-64-w16. The record of this model does not "
            "say where the eyes are in its training images"
        )
    return eyes


def chosen_faces(faces: list[Eyes], face: int | None = None) -> list[Eyes]:
    """The face with the number `face`, counted from 1. None takes all.

    Raises:
        InvalidInputError: there is no face, or none of this number.
    """
    if not faces:
        raise InvalidInputError(
            f"no face was found. A face must show both eyes and be at least {80 / DETECTION_SIDES[1]:.0%} as wide as "
            "the photo. Cut the photo closer to the face, or cut it by hand and leave out align (--align)"
        )
    if face is not None and face > len(faces):
        found = "one face was" if len(faces) == 1 else f"{len(faces)} faces were"
        raise InvalidInputError(f"face {face} was asked for, but {found} found. Faces are counted from 1 at the left")
    return faces if face is None else [faces[face - 1]]


def find_faces(photo: Image.Image) -> list[Eyes]:
    """The eyes of each face in a photo of mode RGB, from left to right. Empty if no face is found.

    dlib's detector of upright faces and its model of five points find them. If the upright photo shows no face, it is
    turned in steps of 30 degrees, up to 90 degrees to each side.

    Raises:
        MissingDependencyError: dlib or its model is not installed.
    """
    longer = max(photo.size)
    scale = min(max(longer, DETECTION_SIDES[0]), DETECTION_SIDES[1]) / longer
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    small = photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    for tilt in TILTS:
        turned = small.rotate(tilt, Image.Resampling.BILINEAR, expand=True) if tilt else small
        faces = [_turned_back(eyes, -tilt, turned.size, small.size) for eyes in _upright_faces(turned)]
        across, down = photo.width / small.width, photo.height / small.height
        faces = [cast(Eyes, tuple((x * across, y * down) for x, y in eyes)) for eyes in faces]
        if faces := [eyes for eyes in faces if math.dist(*eyes) >= SMALLEST]:
            return sorted(faces, key=lambda eyes: eyes[0][0] + eyes[1][0])
    return []


def _upright_faces(picture: Image.Image) -> Iterator[Eyes]:
    detector, landmarks = _detector()
    pixels = np.ascontiguousarray(picture)
    for box in detector(pixels, 0):
        # Corners of the eye on the right, corners of the eye on the left, and the nose. Pixel centers are integers.
        corners = [(point.x + 0.5, point.y + 0.5) for point in landmarks(pixels, box).parts()[:4]]
        right, left = (tuple(np.mean(pair, axis=0).tolist()) for pair in (corners[:2], corners[2:]))
        if right[0] < left[0]:
            left, right = right, left
        yield left, right


def _turned_back(eyes: Eyes, degrees: float, before: tuple[int, int], after: tuple[int, int]) -> Eyes:
    """Points in a picture of size `before`, after it was turned around its center and has the size `after`."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    turned = []
    for x, y in eyes:
        right, down = x - before[0] / 2, y - before[1] / 2
        turned.append((cos * right + sin * down + after[0] / 2, cos * down - sin * right + after[1] / 2))
    return turned[0], turned[1]


@cache
def _detector() -> tuple[Any, Any]:
    """dlib's face detector, and its predictor of the corners of the eyes and of the nose."""
    try:
        import dlib
    except ImportError as error:
        raise MissingDependencyError(missing_extra("faces are found by dlib", "faces")) from error
    # The package is not imported, because it needs an old setuptools for that.
    package = importlib.util.find_spec("face_recognition_models")
    if package is None or not package.submodule_search_locations:
        raise MissingDependencyError(missing_extra("eyes are found by a model in face_recognition_models", "faces"))
    model = Path(package.submodule_search_locations[0]) / "models" / "shape_predictor_5_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model))


# ------------------------------------------------------------------ the cut


def aligned_face(photo: Image.Image, found: Eyes, eyes: Eyes, side: int) -> Image.Image:
    """The face with the eyes `found` in a photo of mode RGB as a square of `side` pixels with its eyes at `eyes`.

    Raises:
        InvalidInputError: the square would be far larger than the photo.
    """
    corner, right, down = _square(found, eyes)
    if not math.hypot(*right) <= LARGEST_RATIO * max(photo.size):  # its memory would have no limit
        raise InvalidInputError(
            f"the square around a face would be more than {LARGEST_RATIO} times as wide as the photo of "
            f"{photo.width} x {photo.height} pixels. Take a photo that shows more around the face, or cut it by hand "
            "and leave out align (--align)"
        )
    fine = min(LARGEST_CUT, max(side, math.ceil(math.hypot(*right))))  # about the pixels of the photo
    corners = [corner + a * right + b * down for a in (0, 1) for b in (0, 1)]
    low, high = np.floor(np.min(corners, axis=0)).astype(int) - 2, np.ceil(np.max(corners, axis=0)).astype(int) + 2
    columns, rows = (
        np.arange(first, last).clip(0, count - 1) for first, last, count in zip(low, high, (photo.width, photo.height))
    )
    around = Image.fromarray(np.asarray(photo)[rows][:, columns])
    (a, d), (b, e), (c, f) = right / fine, down / fine, corner - low
    cut = around.transform((fine, fine), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)
    return cut if fine == side else cut.resize((side, side), Image.Resampling.LANCZOS)


def _square(found: Eyes, eyes: Eyes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The square of a photo whose eyes `found` are at `eyes`: its upper left corner, upper edge and left edge."""
    from_left, from_right = (complex(*point) for point in found)
    to_left, to_right = (complex(*point) for point in eyes)
    turn = (from_right - from_left) / (to_right - to_left)  # a similarity: rotation and scale
    corner = from_left - turn * to_left
    down = turn * 1j
    return tuple(np.array([z.real, z.imag]) for z in (corner, turn, down))  # type: ignore[return-value]


def cut_picture(photo: Image.Image, faces: Sequence[Eyes], eyes: Eyes, face: int | None = None) -> Image.Image:
    """A photo of mode RGB with the square of each face and its number, counted from 1. It is 256 x 256, on white.

    With `face`, only this one is cut. The squares of the others are gray.
    """
    scale = PICTURE_SIDE / max(photo.size)
    size = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    picture = Image.new("RGB", (PICTURE_SIDE, PICTURE_SIDE), "white")
    picture.paste(photo.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    for number, found in enumerate(faces, 1):
        corner, right, down = (scale * edge for edge in _square(found, eyes))
        color = "lime" if face in (None, number) else "gray"
        corners = [corner, corner + right, corner + right + down, corner + down, corner]
        draw.line([tuple(point.tolist()) for point in corners], color, width=2)
        place = np.clip(corner, 0, np.array(size) - 20) + 4
        draw.text(tuple(place.tolist()), str(number), color, font, stroke_width=2, stroke_fill="black")
    return picture
