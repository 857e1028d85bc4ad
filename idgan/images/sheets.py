"""Picture grids, panels with captions, and writing of picture and animation files."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from idgan.errors import InvalidInputError, MissingDependencyError, check_integer, check_range, missing_extra
from idgan.files import user_path, write_atomically
from idgan.images.batch import Color, decode, parse_color, recolor
from idgan.images.pixels import to_pil, unit_batch

__all__ = [
    "PICTURE_SUFFIXES",
    "contact_sheet",
    "labeled_grid",
    "save_animation",
    "save_gif",
    "save_image",
    "save_mp4",
    "save_png",
    "side_by_side",
]

_JPEG = ("jpeg", {"quality": 95, "subsampling": 0})
PICTURE_SUFFIXES: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("png", {}),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": ("webp", {"lossless": True}),
}
"""Suffix of a picture file -> Pillow's name of the format, and its options."""
MIN_TEXT_SIZE = 8
"""Smallest text, in pixels."""


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


def labeled_grid(
    x: Tensor,
    columns: int | None = None,
    *,
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    tile_labels: Sequence[str] = (),
    text_size: int = 14,
) -> Image.Image:
    """A contact sheet with texts: a PIL image of mode L for gray images x (N, 1, H, W), of mode RGB for color.

    Args:
        x, columns: see `contact_sheet`.
        row_labels: texts on the left of the rows, from the top.
        column_labels: texts above the columns, from the left.
        tile_labels: texts below the images, in their order.
        text_size: size of the texts in pixels. Texts that are wider than a column are drawn smaller.
    """
    x = unit_batch(x)
    check_integer(1, text_size=text_size)
    columns = min(math.ceil(math.sqrt(len(x))) if columns is None else columns, len(x))
    rows, gap, padding = math.ceil(len(x) / columns), text_size // 2, 2
    for name, texts, most in (
        ("row_labels", row_labels, rows),
        ("column_labels", column_labels, columns),
        ("tile_labels", tile_labels, len(x)),
    ):
        if len(texts) > most:
            raise InvalidInputError(f"expected at most {most} {name}, got {len(texts)}")
    height, width = x.shape[-2:]
    font, small = _font(text_size), _font(text_size, [*column_labels, *tile_labels], width)
    line = sum(font.getmetrics())
    strip = line + gap // 2 if tile_labels else 0
    (sheet,) = to_pil(contact_sheet(F.pad(x, (0, 0, 0, strip), value=1.0), columns, padding))
    left = max((math.ceil(font.getlength(text)) for text in row_labels), default=-gap) + gap
    top = line + gap if column_labels else 0
    picture = Image.new(sheet.mode, (left + sheet.width, top + sheet.height), "white")
    picture.paste(sheet, (left, top))
    draw = ImageDraw.Draw(picture)
    step_right, step_down = width + padding, height + strip + padding
    for row, text in enumerate(row_labels):
        middle = top + padding + row * step_down + height // 2
        draw.text((left - gap, middle), text, fill="black", font=font, anchor="rm")
    for column, text in enumerate(column_labels):
        draw.text((_center(left, column, step_right), line), text, fill="black", font=small, anchor="md")
    for index, text in enumerate(tile_labels):
        row, column = divmod(index, columns)
        below = top + padding + row * step_down + height
        draw.text((_center(left, column, step_right), below), text, fill="black", font=small, anchor="ma")
    return picture


def _center(left: int, column: int, step: int) -> int:
    return left + column * step + step // 2


def _font(size: int, texts: Iterable[str] = (), width: int = 0) -> ImageFont.FreeTypeFont:
    """Pillow's own font at `size` pixels, or at the largest smaller size at which each of `texts` fits into `width`."""
    font = cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))
    longest = max(map(font.getlength, texts), default=0)
    if longest <= width:
        return font
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(max(MIN_TEXT_SIZE, int(size * width / longest))))


def side_by_side(
    panels: Sequence[Any], captions: Sequence[str] | None = None, *, stacked: bool = False, text_size: int = 14
) -> Image.Image:
    """Panels in a row on white, with a one-line caption above each: a PIL image of mode RGB.

    Each panel is one image of any kind that `as_batch` takes, of any size. `stacked` puts the panels one below the
    other. `text_size` is the size of the captions in pixels.
    """
    captions = [""] * len(panels) if captions is None else captions
    if not len(panels) or len(captions) != len(panels):
        raise InvalidInputError(
            f"expected at least one panel and one caption for each, got {len(panels)} and {len(captions)}"
        )
    check_integer(1, text_size=text_size)
    pictures = [_one_picture(panel) for panel in panels]
    font, gap = _font(text_size), 8
    widths = [max(picture.width, math.ceil(font.getlength(text))) for picture, text in zip(pictures, captions)]
    caption = sum(font.getmetrics()) + gap
    heights = [caption + picture.height for picture in pictures]
    if stacked:
        corners = [(gap, gap + sum(heights[:i]) + gap * i) for i in range(len(pictures))]
        size = (max(widths) + 2 * gap, sum(heights) + gap * (len(heights) + 1))
    else:
        corners = [(gap + sum(widths[:i]) + gap * i, gap) for i in range(len(pictures))]
        size = (sum(widths) + gap * (len(widths) + 1), max(heights) + 2 * gap)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for picture, text, (left, top) in zip(pictures, captions, corners):
        draw.text((left, top), text, fill="black", font=font)
        sheet.paste(picture, (left, top + caption))
    return sheet


# ------------------------------------------------------------------ files


def save_image(image: Any, path: str | Path) -> Path:
    """Write one image to `path` (.png, .jpg, .jpeg or .webp), atomically, in mode L or RGB. Returns the `Path`.

    The image may be of any kind that `as_batch` takes. Alpha is laid over white. PNG is exact. WebP is, too. JPEG is
    approximate.
    """
    suffix = _suffix(path, PICTURE_SUFFIXES)
    return write_atomically(path, _encoded([_one_picture(image)], *PICTURE_SUFFIXES[suffix]))


def save_png(image: Any, path: str | Path) -> Path:
    """`save_image` to a `path` that must end in .png."""
    _suffix(path, [".png"])
    return save_image(image, path)


def save_gif(frames: Iterable[Any], path: str | Path, fps: float = 10) -> Path:
    """Write an endless animation of images of one size to `path` (.gif), atomically. Returns the `Path`.

    The frames may be of any kind that `as_batch` takes. A GIF counts time in hundredths of a second, so `fps` is
    rounded to 100 / n. It shows 256 colors: gray frames are exact, colors are approximate.
    """
    _suffix(path, [".gif"])
    check_range(0, exclusive=True, fps=fps)
    if fps > 50:
        raise InvalidInputError(f"fps must be at most 50, got {fps!r}")
    return write_atomically(path, _encoded(_frames(frames), "gif", {"duration": round(100 / fps) * 10, "loop": 0}))


def save_mp4(frames: Iterable[Any], path: str | Path, fps: float = 10) -> Path:
    """Write an H.264 video of images of one size to `path` (.mp4), atomically. Returns the `Path`.

    The frames may be of any kind that `as_batch` takes. Colors are approximate. An odd width or height gets one more
    white line, because most players need even sizes.

    Raises:
        MissingDependencyError: PyAV is not installed.
    """
    _suffix(path, [".mp4"])
    check_range(0, 1000, exclusive=True, fps=fps)
    try:
        import av
    except ImportError as error:
        raise MissingDependencyError(missing_extra("writing .mp4 needs PyAV", "video")) from error
    pictures = _frames(frames)
    width, height = ((side + 1) // 2 * 2 for side in pictures[0].size)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as video:
        stream = video.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000), options={"crf": "16"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            canvas = Image.new("RGB", (width, height), "white")
            canvas.paste(picture)
            video.mux(stream.encode(av.VideoFrame.from_image(canvas)))
        video.mux(stream.encode())
    return write_atomically(path, file.getvalue())


def save_animation(frames: Iterable[Any], path: str | Path, fps: float = 10) -> Path:
    """`save_gif` or `save_mp4`, by the suffix of `path`."""
    return (save_mp4 if _suffix(path, [".gif", ".mp4"]) == ".mp4" else save_gif)(frames, path, fps)


def _suffix(path: str | Path, accepted: Iterable[str]) -> str:
    suffix = user_path(path).suffix.lower()
    if suffix not in accepted:
        raise InvalidInputError(f"the path must end in {' or '.join(accepted)}, got {str(path)!r}")
    return suffix


def _frames(images: Iterable[Any]) -> list[Image.Image]:
    pictures = [_one_picture(image) for image in images]
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise InvalidInputError(f"expected at least one image, all of one size, got sizes {sizes}")
    return pictures


def _encoded(pictures: Sequence[Image.Image], format: str, options: Mapping[str, Any]) -> bytes:
    animation = {"save_all": True, "append_images": pictures[1:]} if len(pictures) > 1 else {}
    file = io.BytesIO()
    pictures[0].save(file, format=format, **options, **animation)
    return file.getvalue()


def _one_picture(item: Any) -> Image.Image:
    """One image of any kind as a PIL image of mode L or RGB."""
    pictures = to_pil(decode(item, None, "white"))
    if len(pictures) != 1:
        raise InvalidInputError(f"expected one image, got {len(pictures)}: put them on one sheet with contact_sheet(x)")
    return pictures[0]
