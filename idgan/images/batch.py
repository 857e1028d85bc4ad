"""From images of any kind to the batches that the networks take."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from idgan.errors import InvalidInputError, check_integer
from idgan.files import user_path
from idgan.images.pixels import check_dense, describe, encoder_view, to_pil, unit_values
from idgan.images.reading import pixel_limit, read_image, read_pixels

__all__ = ["Color", "as_batch", "as_rgb", "decode", "parse_color", "recolor"]

Color = str | Sequence[float]
"""A color name, "#rrggbb", or three floats in [0, 1]."""


def as_batch(
    images: Any,
    *,
    channels: int,
    resolution: int,
    background: Color = "white",
    crop: bool | int = False,
    max_pixels: int | None = None,
) -> Tensor:
    """Images of any kind as float32 (N, channels, resolution, resolution) in [0, 1].

    Kinds: PIL images of any mode, image files (first frame), NumPy arrays, tensors, or a list or tuple that mixes them.
    Files and PIL images are turned upright by their EXIF tag. Tensors keep their device and their graph.
    Layout: two axes are (H, W). With three or four, arrays are channel-last (H, W, C), (N, H, W, C) and tensors are
    channel-first. The other order is taken only if the usual channel axis does not have length 1, 3 (RGB) or 4 (RGBA).
    Values: bool, uint8 (white = 255), uint16 (white = 65535), or floats in [0, 1].
    Color: alpha is laid over `background`. Color becomes gray by Rec. 601 luma, gray becomes color by repetition.
    Size: larger images are reduced by area averaging, smaller ones are enlarged bilinearly (see `encoder_view`).

    Args:
        channels: 1 or 3, as the model needs it.
        resolution: height and width that the model needs, in pixels.
        background: a color name, "#rrggbb" or three floats in [0, 1].
        crop: True cuts each image to its center square. A number cuts it to the center square of that side, in pixels.
            False refuses images that are not square.
        max_pixels: the largest file that is read, in pixels. None is Pillow's limit.

    Raises:
        InvalidInputError: an image cannot be read, has another layout, type or range, has too many pixels, is not
            square, or is smaller than `crop`. The message names the file.
    """
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if not items:
        raise InvalidInputError("expected at least one image, got an empty list")
    if channels not in (1, 3):
        raise InvalidInputError(f"channels must be 1 or 3, got {channels!r}")
    check_integer(1, resolution=resolution)
    if isinstance(crop, (bool, np.bool_)):
        crop = bool(crop)
    else:
        check_integer(1, crop=crop)
    batches = []
    with pixel_limit(max_pixels):
        for item in items:
            x = decode(item, channels, background)
            with naming(item):
                batches.append(encoder_view(_square(x, crop), resolution).clamp(0, 1))
    return torch.cat([batch.to(batches[0].device) for batch in batches])


def as_rgb(content: bytes, fit: tuple[int, int] | None = None) -> Image.Image:
    """The content of an image file as an upright 8-bit PIL image of mode RGB, with alpha laid over white.

    With `fit`, a larger image is shrunk to fit this width and height, with its aspect kept.

    Raises:
        InvalidInputError: it cannot be read. The message does not name the file, which is unknown here.
    """
    image = read_image(content, fit)
    if image.mode in ("1", "L", "RGB", "P", "CMYK", "YCbCr") and not image.has_transparency_data:
        return image.convert("RGB")
    return to_pil(_tensor(read_pixels(image), 3, "white"))[0]


def decode(item: Any, channels: int | None, background: Color) -> Tensor:
    """One item of any accepted kind as float32 (N, channels, H, W) in [0, 1], at its own size.

    channels=None keeps gray or color.
    """
    if isinstance(item, (str, os.PathLike)):
        try:
            pixels = read_pixels(user_path(item))
        except InvalidInputError as error:
            raise InvalidInputError(f"cannot read the image {item}: {error}") from error
    else:
        pixels = read_pixels(item) if isinstance(item, Image.Image) else item
    if not isinstance(pixels, (np.ndarray, Tensor)):
        raise InvalidInputError(
            f"expected a PIL image, a path to one, an array or a tensor, or a list of these, got {describe(item)}"
        )
    with naming(item):
        return _tensor(pixels, channels, background)


def _tensor(pixels: np.ndarray | Tensor, channels: int | None, background: Color) -> Tensor:
    """Pixels of any accepted layout and type as float32 (N, channels, H, W) in [0, 1]."""
    check_dense(pixels)
    if 0 in pixels.shape:
        raise InvalidInputError(f"expected images with at least one pixel, got {describe(pixels)}")
    x = _channels_first(unit_values(pixels), (1, 3) if isinstance(pixels, Tensor) else (3, 1))
    return recolor(x, channels, parse_color(background))


@contextmanager
def naming(item: Any) -> Iterator[None]:
    """Context that puts the name of the file `item` in front of an error."""
    try:
        yield
    except InvalidInputError as error:
        if not isinstance(item, (str, os.PathLike)):
            raise
        raise InvalidInputError(f"{item}: {error}") from error


def _channels_first(x: Tensor, channel_axes: tuple[int, int]) -> Tensor:
    """(H, W), three or four axes -> (N, C, H, W).

    `channel_axes` are the axes of four that may be C, the preferred one first.
    """
    if x.ndim == 2:
        return x[None, None]
    batch = x[None] if x.ndim == 3 else x
    for axis in channel_axes if batch.ndim == 4 else ():
        if batch.shape[axis] in (1, 3, 4):
            return batch.movedim(axis, 1)
    raise InvalidInputError(
        f"cannot tell height, width and channels of {describe(x)}: expected (H, W), (H, W, C), (C, H, W), "
        "(N, H, W, C) or (N, C, H, W) with C = 1, 3 or 4. A stack of gray images needs a channel axis: x[:, None]"
    )


def recolor(x: Tensor, channels: int | None, background: Tensor | None) -> Tensor:
    """(N, 1, 3 or 4, H, W) -> (N, channels, H, W). channels=None keeps 1 or 3.

    Alpha is laid over `background` (3,). Then color becomes gray by Rec. 601 luma, or gray becomes color by repetition.
    """
    if x.shape[1] == 4 and background is not None:
        color, alpha = x[:, :3], x[:, 3:]
        x = alpha * color + (1 - alpha) * background.to(x)[:, None, None]
    if channels in (None, x.shape[1]):
        return x
    if channels == 3:
        return x.repeat(1, 3, 1, 1)
    red, green, blue = x.split(1, dim=1)
    return green + 0.299 * (red - green) + 0.114 * (blue - green)  # gray pixels keep their exact value


def _square(x: Tensor, crop: bool | int) -> Tensor:
    """The center square of images (N, C, H, W), as `as_batch` describes `crop`."""
    height, width = x.shape[-2:]
    side = min(height, width)
    if crop is False and height != width:
        raise InvalidInputError(
            f"the image is {width} wide and {height} high, not square. crop=True (--crop) cuts out its center square"
        )
    if not isinstance(crop, bool):
        if crop > side:
            raise InvalidInputError(f"crop={crop} is larger than the image, which is {width} wide and {height} high")
        side = crop
    top, left = (height - side) // 2, (width - side) // 2
    return x[..., top : top + side, left : left + side]


def parse_color(color: Color) -> Tensor:
    """A color name, "#rrggbb" or three floats in [0, 1] as a tensor (3,)."""
    try:
        rgb = [v / 255 for v in ImageColor.getrgb(color)[:3]] if isinstance(color, str) else [float(v) for v in color]
    except (TypeError, ValueError):
        rgb = []
    if len(rgb) != 3 or not all(0 <= value <= 1 for value in rgb):
        raise InvalidInputError(f"background must be a color name, '#rrggbb' or three floats in [0, 1], got {color!r}")
    return torch.tensor(rgb, dtype=torch.float32, device="cpu")
