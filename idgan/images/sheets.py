"""Picture grids, panels with captions, and writing of PNG and GIF files."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from idgan.errors import InvalidInputError, check_integer, check_range
from idgan.files import user_path, write_atomically
from idgan.images.batch import Color, decode, parse_color, recolor
from idgan.images.pixels import to_pil, unit_batch

__all__ = ["contact_sheet", "save_gif", "save_png", "side_by_side"]


def contact_sheet(
    x: Tensor, columns: int | None = None, padding: int = 2, background: Color = "white", scale: int = 1
) -> Tensor:
    """Unit images (N, C, H, W) or (C, H, W) as one picture grid (C, H', W'), filled row by row.

    Args:
        columns: images in a row. None makes the grid about square.
        padding: pixels of `background` around every image.
        background: see `as_batch`.
        scale: each pixel is enlarged to `scale` x `scale`.
    """
    x = unit_batch(x)
    columns = math.ceil(math.sqrt(len(x))) if columns is None else columns
    check_integer(1, columns=columns, scale=scale)
    check_integer(0, padding=padding)
    columns = min(columns, len(x))
    x = x.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    n, channels, height, width = x.shape
    step_down, step_right = height + padding, width + padding
    color = recolor(parse_color(background)[None, :, None, None], channels, None)[0].to(x)
    sheet = color.repeat(1, math.ceil(n / columns) * step_down + padding, columns * step_right + padding)
    for index, image in enumerate(x):
        top, left = padding + index // columns * step_down, padding + index % columns * step_right
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def side_by_side(panels: Sequence[Any], captions: Sequence[str] | None = None) -> Image.Image:
    """Panels in a row on white, with a one-line caption above each: a PIL image of mode RGB.

    Each panel is one image of any kind that `as_batch` takes, of any size.
    """
    captions = [""] * len(panels) if captions is None else captions
    if not len(panels) or len(captions) != len(panels):
        raise InvalidInputError(
            f"expected at least one panel and one caption for each, got {len(panels)} and {len(captions)}"
        )
    pictures = [_one_picture(panel) for panel in panels]
    font, gap = cast(ImageFont.FreeTypeFont, ImageFont.load_default(14)), 8
    widths = [max(picture.width, math.ceil(font.getlength(text))) for picture, text in zip(pictures, captions)]
    top = sum(font.getmetrics()) + 2 * gap
    size = (sum(widths) + gap * (len(widths) + 1), top + max(picture.height for picture in pictures) + gap)
    sheet = Image.new("RGB", size, "white")
    draw, left = ImageDraw.Draw(sheet), gap
    for picture, text, width in zip(pictures, captions, widths):
        draw.text((left, gap), text, fill="black", font=font)
        sheet.paste(picture, (left, top))
        left += width + gap
    return sheet


def save_png(image: Any, path: str | Path) -> Path:
    """Write one image to `path` (.png), atomically, in mode L or RGB. Returns the `Path`.

    The image may be of any kind that `as_batch` takes. Alpha is laid over white.
    """
    return _save([image], path, ".png")


def save_gif(frames: Iterable[Any], path: str | Path, fps: float = 10) -> Path:
    """Write an endless animation of images of one size to `path` (.gif), atomically. Returns the `Path`.

    The frames may be of any kind that `as_batch` takes. A GIF counts time in hundredths of a second, so `fps` is
    rounded to 100 / n. It shows 256 colors: gray frames are exact, colors are approximate.
    """
    check_range(0, exclusive=True, fps=fps)
    if fps > 50:
        raise InvalidInputError(f"fps must be at most 50, got {fps!r}")
    return _save(frames, path, ".gif", duration=round(100 / fps) * 10, loop=0)


def _save(images: Iterable[Any], path: str | Path, suffix: str, **options: Any) -> Path:
    if user_path(path).suffix.lower() != suffix:
        raise InvalidInputError(f"the path must end in {suffix}, got {str(path)!r}")
    pictures = [_one_picture(image) for image in images]
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise InvalidInputError(f"expected at least one image, all of one size, got sizes {sizes}")
    if len(pictures) > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    file = io.BytesIO()
    pictures[0].save(file, format=suffix[1:], **options)
    return write_atomically(path, file.getvalue())


def _one_picture(item: Any) -> Image.Image:
    """One image of any kind as a PIL image of mode L or RGB."""
    pictures = to_pil(decode(item, None, "white"))
    if len(pictures) != 1:
        raise InvalidInputError(f"expected one image, got {len(pictures)}: put them on one sheet with contact_sheet(x)")
    return pictures[0]
