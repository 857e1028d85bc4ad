"""The one reader of image files, for users' images and for data sets.

Metadata never keeps it from reading the pixels. It opens the formats in `FORMATS` only, so that no file can start
another program.
"""

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from idgan.errors import InvalidInputError, check_integer
from idgan.files import read_regular_file

__all__ = ["IMAGE_SUFFIXES", "OTHER_IMAGE_SUFFIXES", "pixel_limit", "read_image", "read_pixels"]

FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "PPM", "TIFF", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are read. EPS is not among them: Pillow starts Ghostscript for it."""
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif"),
)
"""Suffixes of files in these formats."""
OTHER_IMAGE_SUFFIXES = (
    *(".heic", ".heif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raw", ".psd", ".svg", ".eps"),
    *(".ps", ".tga", ".ico", ".icns", ".pcx", ".sgi", ".dds", ".exr", ".hdr", ".pfm"),
)
"""Suffixes of image files that are not read."""

MAX_BYTES = 1 << 30
"""Bytes in the largest file that is read. A larger one would fill the memory."""
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> operation that turns the image upright."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")

_LIMIT_LOCK = threading.RLock()


@contextmanager
def pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Context in which images of up to `max_pixels` pixels are read. None keeps Pillow's limit.

    Pillow has one limit for the whole process. A second context with a limit waits for the first one to end.

    Raises:
        InvalidInputError: `max_pixels` is not a positive integer.
    """
    if max_pixels is None:
        yield
        return
    check_integer(1, max_pixels=max_pixels)
    with _LIMIT_LOCK:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, int(max_pixels)
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def read_image(source: Path | bytes | Image.Image, fit: tuple[int, int] | None = None) -> Image.Image:
    """The first frame of an image file, of its content, or of a PIL image, upright by its EXIF tag.

    With `fit`, a larger image is shrunk to fit this width and height, with its aspect kept.

    Raises:
        InvalidInputError: it cannot be read, or has too many pixels. The message does not name the file. The caller
            does.
    """
    try:
        if isinstance(source, Image.Image):
            return _upright(source, fit)
        return _decode(source if isinstance(source, bytes) else read_regular_file(source, MAX_BYTES), fit)
    except InvalidInputError:
        raise
    except UnidentifiedImageError:  # its message shows an object
        raise InvalidInputError(f"it is not an image in one of the formats {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise InvalidInputError(_too_many_pixels()) from None
    except Exception as error:  # damaged files make decoders raise almost anything
        raise InvalidInputError(str(error) or type(error).__name__) from error


def _decode(content: bytes, fit: tuple[int, int] | None) -> Image.Image:
    """The image in `content`. A PNG file that cannot be read is read again without its metadata."""
    try:
        return _open(content, fit)
    except Exception:
        if not content.startswith(PNG_SIGNATURE) or (bare := _without_metadata(content)) == content:
            raise
    return _open(bare, fit)


def _open(content: bytes, fit: tuple[int, int] | None) -> Image.Image:
    Image.init()
    with Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        if content.startswith(PNG_SIGNATURE) and "transparency" in image.info:
            image.info["transparency"] = _eight_bit_key(image.info["transparency"], *content[24:26])
        upright = _upright(image, fit)
        if image.format == "PPM" and image.mode == "I":  # Pillow scales the integers of PGM files to 16 bits
            upright = Image.fromarray(np.asarray(upright).astype(np.uint16))
        return upright


def _upright(image: Image.Image, fit: tuple[int, int] | None) -> Image.Image:
    """`image`, loaded and turned by its EXIF tag. A damaged tag counts as none."""
    if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        raise InvalidInputError(f"it has {image.width} x {image.height} pixels: {_too_many_pixels()}")
    if fit is None:
        image.load()
    else:
        image.thumbnail(fit)  # decodes a large JPEG file at a fraction of its size
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # damaged metadata makes the parser raise almost anything
        turn = None
    return image if turn is None else image.transpose(turn)


def _too_many_pixels() -> str:
    return f"more than the limit of {Image.MAX_IMAGE_PIXELS:,} pixels. Raise max_pixels if you trust the file"


def _without_metadata(content: bytes) -> bytes:
    """A PNG file reduced to the chunks that define its pixels."""
    kept, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind in PNG_PIXEL_CHUNKS:
            kept.append(content[position : position + length + 12])
        position += length + 12
    return b"".join(kept)


def _eight_bit_key(key: object, depth: int, color_type: int) -> object:
    """The transparent color of a PNG file, scaled to the 8-bit pixels that Pillow makes of it."""
    if depth == 16 and color_type == 2 and isinstance(key, tuple):
        return tuple(value >> 8 for value in key)
    if depth < 8 and color_type == 0 and isinstance(key, int):
        white = 2**depth - 1
        return (key & white) * 255 // white
    return key


# ------------------------------------------------------------------ modes


def read_pixels(source: Path | bytes | Image.Image) -> np.ndarray:
    """The upright pixels of an image: (H, W) for gray, (H, W, 3) for RGB, (H, W, 4) for RGBA.

    The type is uint8, uint16 for 16-bit gray, or float32 for mode F.

    Raises:
        InvalidInputError: as `read_image`, or a mode that cannot be converted.
    """
    image = read_image(source)
    if image.mode.startswith("I"):
        return _sixteen_bits(np.asarray(image), image.info.get("transparency"))
    if image.mode != "F":
        gray = image.mode in ("1", "L")
        try:
            image = image.convert("RGBA" if image.has_transparency_data else "L" if gray else "RGB")
        except Exception as error:  # Pillow lacks some conversions, and each of them raises in its own way
            raise InvalidInputError(f"its mode {image.mode} cannot be converted to RGB: {error}") from error
    return np.asarray(image)


def _sixteen_bits(values: np.ndarray, transparent: int | None) -> np.ndarray:
    """The pixels of Pillow's integer modes as uint16: (H, W), or (H, W, 4) if one value is transparent."""
    low, high = values.min(), values.max()
    if values.dtype.itemsize > 2 and not (low >= 0 and 255 < high <= 65535):
        # Mode I holds what Pillow reads from some 16-bit files, but also what convert("I") makes of 8 bits.
        # The value of white is unknown.
        raise InvalidInputError(
            f"it is of mode I with values from {low} to {high}, which do not look like 16 bits. "
            "Convert it to mode L or I;16"
        )
    if transparent is not None:
        values = np.stack([values, values, values, (values != transparent) * 65535], axis=-1)
    return values.astype(np.uint16)
