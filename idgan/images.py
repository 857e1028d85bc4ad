"""Images in and out: the only place that knows pixel ranges, file and array layouts, and what the encoder sees.

Inside the package an image batch is a float tensor (N, C, H, W): "unit" means values in [0, 1] (the public API, data sets, VAEs),
"signed" means [-1, 1] (GANs).
"""

import io
import math
import os
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

from idgan.errors import InvalidInputError
from idgan.files import write_atomically

__all__ = [
    "as_batch",
    "contact_sheet",
    "default_batch_size",
    "encoder_view",
    "psnr",
    "save_gif",
    "save_png",
    "side_by_side",
    "to_pil",
    "to_signed",
    "to_uint8",
    "to_unit",
]

_FULL_SCALE = {torch.bool: 1, torch.uint8: 255, torch.uint16: 65535}
_SLACK = 1e-4  # how far rounding may carry a float image outside [0, 1]


def to_signed(x):
    """Map [0, 1] to [-1, 1], any shape."""
    return x * 2 - 1


def to_unit(x):
    """Map [-1, 1] to [0, 1], any shape; values outside are not clamped, so that gradients pass."""
    return (x + 1) / 2


def encoder_view(x, resolution=64):
    """What the encoder sees of square images x (N, C, H, H): their area average at (resolution, resolution).

    A whole factor is an exact block mean, any other weighs each pixel by the area it shares with the new one; smaller images are enlarged
    bilinearly; at `resolution` it is the identity. Keeps the range and is differentiable: R_ID (Eq. 4) of large images goes through it.

    Raises:
        InvalidInputError: x is not a float tensor (N, C, H, H).
    """
    if not torch.is_tensor(x) or not x.is_floating_point() or x.ndim != 4 or x.shape[-2] != x.shape[-1]:
        raise InvalidInputError(f"the encoder views square float images (N, C, H, H), not {_describe(x)}")
    size = x.shape[-1]
    if size == resolution:
        return x
    if size < resolution:
        return F.interpolate(x, size=(resolution, resolution), mode="bilinear", align_corners=False)
    if size % resolution == 0:
        return F.avg_pool2d(x, size // resolution)
    edges = (
        torch.arange(resolution + 1, dtype=torch.float64) * size / resolution
    )  # of the new pixels, counted in old ones
    old = torch.arange(size)
    overlap = torch.minimum(edges[1:, None], old + 1) - torch.maximum(edges[:-1, None], old)
    shares = (overlap.clamp(min=0) * resolution / size).to(x)  # (resolution, size), rows sum to 1
    return shares @ x @ shares.T


def default_batch_size(resolution):
    """How many images of `resolution` a batch may have where any number would do: 256 of 64x64, one of 1024x1024.

    Then the widest generator (64 channels at full resolution) takes about 1 GB of memory beside its weights.
    """
    return max(1, 256 * 64**2 // resolution**2)


def as_batch(images, *, channels, resolution, background="white", crop=False):
    """Whatever holds images -> float32 (N, channels, resolution, resolution) in [0, 1].

    Kinds: PIL images of any mode, image files (first frame), NumPy arrays, tensors, or a list or tuple that mixes them.
    Files and PIL images are turned upright by their EXIF tag; tensors keep their device and their graph.
    Layout: two axes are (H, W). With three or four, arrays are channel-last (H, W, C), (N, H, W, C) and tensors channel-first; the other
    order is taken only where the usual channel axis is not 1, 3 (RGB) or 4 (RGBA) long.
    Values: bool; uint8 (white = 255); uint16 (white = 65535); floats in [0, 1].
    Color: alpha is laid over `background`; color becomes gray by Rec. 601 luma, gray becomes color by repetition.
    Size: reduced by area averaging, enlarged bilinearly (see `encoder_view`).

    `channels` (1 or 3) and `resolution` are the model's; `background` is a color name, "#rrggbb" or three floats in [0, 1];
    `crop` cuts an image to the square in its middle: True to the largest, a number to that of as many pixels a side. False refuses images
    that are not square.

    Raises:
        InvalidInputError: an image cannot be read, has another layout, type or range, is too large for Pillow's limit, is not square, or
            is smaller than `crop`.
    """
    items = list(images) if isinstance(images, (list, tuple)) else [images]
    if not items:
        raise InvalidInputError("expected at least one image, got an empty list")
    if channels not in (1, 3):
        raise InvalidInputError(f"channels must be 1 or 3, not {channels!r}")
    _check_integer("resolution", resolution, least=1)
    batches = [
        encoder_view(_square(_decode(item, channels, background), crop), resolution).clamp(0, 1) for item in items
    ]
    return torch.cat([batch.to(batches[0].device) for batch in batches])


def _decode(item, channels, background):
    """One item of any accepted kind -> float32 (N, channels, H, W) in [0, 1] at its own size; channels=None keeps gray or color."""
    pixels = _read(item) if isinstance(item, (Image.Image, str, os.PathLike)) else item
    if not isinstance(pixels, (np.ndarray, torch.Tensor)) or 0 in pixels.shape:
        raise InvalidInputError(
            f"expected a PIL image, a path to one, an array or a tensor, or a list of these, got {_describe(item)}"
        )
    pixels = _channels_first(_unit(pixels), (1, 3) if torch.is_tensor(pixels) else (3, 1))
    return _recolor(pixels, channels, _color(background))


def _read(source):
    """An image file or PIL image -> the upright pixels as an array (H, W) or (H, W, C)."""
    try:
        with nullcontext(source) if isinstance(source, Image.Image) else Image.open(source) as image:
            if Image.MAX_IMAGE_PIXELS and image.width * image.height > Image.MAX_IMAGE_PIXELS:
                raise InvalidInputError(
                    f"more than {Image.MAX_IMAGE_PIXELS:,} pixels; raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
                )
            image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):
            return _sixteen_bits(np.asarray(image), image.info.get("transparency"))
        if image.mode != "F":
            image = image.convert("RGBA" if image.has_transparency_data else "L" if image.mode in ("1", "L") else "RGB")
        return np.asarray(image)
    except Exception as error:  # damaged files make decoders raise almost anything
        raise InvalidInputError(f"cannot read the image {source}: {error}") from error


def _sixteen_bits(values, transparent):
    """The pixels of Pillow's integer modes as uint16 (H, W), or (H, W, 4) where the file declares one value to be transparent."""
    low, high = values.min(), values.max()
    if values.dtype.itemsize > 2 and not (low >= 0 and 255 < high <= 65535):
        # Mode I holds what Pillow reads from some 16-bit files, but also what convert("I") makes of 8 bits: do not guess where white is.
        raise InvalidInputError(
            f"its values of mode I, from {low} to {high}, do not look like 16 bits; convert it to mode L or I;16"
        )
    if transparent is not None:
        values = np.stack([values, values, values, (values != transparent) * 65535], axis=-1)
    return values.astype(np.uint16)


def _unit(x):
    """Pixels of any accepted type, array or tensor -> float32 tensor in [0, 1] of the same shape."""
    if isinstance(x, np.ndarray) and x.dtype.kind in "buf" and x.dtype.itemsize <= 8:
        x = torch.from_numpy(x.astype(x.dtype.newbyteorder("="), order="C"))
    if x.dtype in _FULL_SCALE:
        return x.float() / _FULL_SCALE[x.dtype]
    if not torch.is_tensor(x) or not x.is_floating_point():
        raise InvalidInputError(
            f"images must be bool, uint8 (0 to 255), uint16 (0 to 65535) or float (0 to 1), not {_describe(x)}"
        )
    low, high = (value.item() for value in x.detach().float().aminmax())
    if low >= -_SLACK and high <= 1 + _SLACK:
        return x.float().clamp(0, 1)
    hint = ""
    if -1 - _SLACK <= low and high <= 1 + _SLACK:
        hint = "; these look like [-1, 1]: pass (x + 1) / 2"
    elif low >= 0 and high <= 255:
        hint = "; these look like 0 to 255: pass x / 255"
    raise InvalidInputError(f"float images must lie in [0, 1]{hint}; got {_describe(x)}")


def _channels_first(x, channel_axes):
    """(H, W), three or four axes -> (N, C, H, W); `channel_axes` are the axes of four that may be C, the preferred one first."""
    if x.ndim == 2:
        return x[None, None]
    batch = x[None] if x.ndim == 3 else x
    for axis in channel_axes if batch.ndim == 4 else ():
        if batch.shape[axis] in (1, 3, 4):
            return batch.movedim(axis, 1)
    raise InvalidInputError(
        f"cannot tell height, width and channels of {_describe(x)}: expected (H, W), (H, W, C), (C, H, W), (N, H, W, C) or (N, C, H, W) "
        "with C = 1, 3 or 4; a stack of gray images needs a channel axis, x[:, None]"
    )


def _recolor(x, channels, background):
    """(N, 1, 3 or 4, H, W) -> (N, channels, H, W), None keeps 1 or 3: alpha over `background` (3,), then Rec. 601 luma or repetition."""
    if x.shape[1] == 4:
        color, alpha = x[:, :3], x[:, 3:]
        x = alpha * color + (1 - alpha) * background.to(x)[:, None, None]
    if channels in (None, x.shape[1]):
        return x
    if channels == 3:
        return x.repeat(1, 3, 1, 1)
    red, green, blue = x.split(1, dim=1)
    return (
        green + 0.299 * (red - green) + 0.114 * (blue - green)
    )  # around G, so that gray stays exactly the gray it was


def _square(x, crop):
    height, width = x.shape[-2:]
    side = min(height, width)
    if crop is False and height != width:
        raise InvalidInputError(
            f"the image is {width} wide and {height} high, not square: crop=True (--crop) cuts out its center square"
        )
    if not isinstance(crop, bool):
        _check_integer("crop", crop, least=1)
        if crop > side:
            raise InvalidInputError(f"crop={crop} is more than the image has, which is {width} wide and {height} high")
        side = crop
    top, left = (height - side) // 2, (width - side) // 2
    return x[..., top : top + side, left : left + side]


def _color(color):
    """A color name, "#rrggbb" or three floats in [0, 1] -> tensor (3,)."""
    try:
        rgb = [v / 255 for v in ImageColor.getrgb(color)[:3]] if isinstance(color, str) else [float(v) for v in color]
    except (TypeError, ValueError):
        rgb = []
    if len(rgb) != 3 or not all(0 <= value <= 1 for value in rgb):
        raise InvalidInputError(f"background must be a color name, '#rrggbb' or three floats in [0, 1], not {color!r}")
    return torch.tensor(rgb)


def _check_integer(name, value, least):
    if not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{name} must be an integer of at least {least}, not {value!r}")


def _describe(x):
    """What was passed, for messages: kind, shape, type and range."""
    if not isinstance(x, (torch.Tensor, np.ndarray)):
        return f"{type(x).__name__} {x!r:.60}"
    text = f"{type(x).__name__} of shape {tuple(x.shape)} and type {str(x.dtype).removeprefix('torch.')}"
    real = not x.is_complex() if torch.is_tensor(x) else x.dtype.kind in "biuf"
    if 0 in x.shape or not real:
        return text
    values = x.detach().float() if torch.is_tensor(x) else x  # torch has no min of uint16
    return f"{text} with values from {values.min().item():.6g} to {values.max().item():.6g}"


def psnr(x, y):
    """Peak signal-to-noise ratio of unit images `x` and `y`, (N, C, H, W) each: (N,) in dB, -10 log10 of their mean squared difference."""
    if x.shape != y.shape:
        raise InvalidInputError(f"expected images of the same shape, got {tuple(x.shape)} and {tuple(y.shape)}")
    return -10 * (_unit_batch(x) - _unit_batch(y)).square().flatten(1).mean(1).log10()


def to_uint8(x):
    """Unit images (N, C, H, W) or (C, H, W) -> NumPy uint8 (N, H, W, C), 255 x rounded to the nearest."""
    return (_unit_batch(x) * 255).round().byte().movedim(1, -1).cpu().numpy()


def to_pil(x):
    """Unit images (N, C, H, W) or (C, H, W) -> list of PIL images, of mode L or RGB."""
    return [Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels) for pixels in to_uint8(x)]


def contact_sheet(x, columns=None, padding=2, background="white", scale=1):
    """Unit images (N, C, H, W) or (C, H, W) -> one contact sheet (C, H', W'), row by row, each pixel enlarged to `scale` x `scale`.

    `columns` defaults to a sheet about as wide as high; `padding` pixels of `background` surround every image.
    """
    x = _unit_batch(x)
    columns = math.ceil(math.sqrt(len(x))) if columns is None else columns
    for name, value, least in ("columns", columns, 1), ("padding", padding, 0), ("scale", scale, 1):
        _check_integer(name, value, least)
    columns = min(columns, len(x))
    x = x.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    n, channels, height, width = x.shape
    step_down, step_right = height + padding, width + padding
    color = _recolor(_color(background)[None, :, None, None], channels, None)[0].to(x)
    sheet = color.repeat(1, math.ceil(n / columns) * step_down + padding, columns * step_right + padding)
    for index, image in enumerate(x):
        top, left = padding + index // columns * step_down, padding + index % columns * step_right
        sheet[:, top : top + height, left : left + width] = image
    return sheet


def side_by_side(panels, captions=None):
    """Panels (one image each, of any kind and size) in a row on white, a one-line caption above each -> PIL image, RGB."""
    captions = [""] * len(panels) if captions is None else captions
    if not len(panels) or len(captions) != len(panels):
        raise InvalidInputError(
            f"expected at least one panel and one caption for each, got {len(panels)} and {len(captions)}"
        )
    pictures = [_one_picture(panel) for panel in panels]
    font, gap = ImageFont.load_default(14), 8
    widths = [max(picture.width, math.ceil(font.getlength(text))) for picture, text in zip(pictures, captions)]
    top = sum(font.getmetrics()) + 2 * gap
    sheet = Image.new(
        "RGB", (sum(widths) + gap * (len(widths) + 1), top + max(picture.height for picture in pictures) + gap), "white"
    )
    draw, left = ImageDraw.Draw(sheet), gap
    for picture, text, width in zip(pictures, captions, widths):
        draw.text((left, gap), text, fill="black", font=font)
        sheet.paste(picture, (left, top))
        left += width + gap
    return sheet


def save_png(image, path):
    """Write one image of any kind `as_batch` takes to `path` (.png), atomically: mode L or RGB, alpha laid over white; returns the Path."""
    return _save([image], path, ".png")


def save_gif(frames, path, fps=10):
    """Write an endless animation of images of any kind, all of one size, to `path` (.gif), atomically; returns the Path.

    GIF counts hundredths of a second, so `fps` is rounded to 100 / n, and shows 256 colors: gray frames are exact, colors approximate.
    """
    if not 0 < fps <= 50:
        raise InvalidInputError(f"fps must be above 0 and at most 50, not {fps!r}")
    return _save(frames, path, ".gif", duration=round(100 / fps) * 10, loop=0)


def _save(images, path, suffix, **options):
    if Path(path).suffix.lower() != suffix:
        raise InvalidInputError(f"the path must end in {suffix}, not {str(path)!r}")
    pictures = [_one_picture(image) for image in images]
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise InvalidInputError(f"expected at least one image, all of one size, got sizes {sizes}")
    if len(pictures) > 1:
        options |= {"save_all": True, "append_images": pictures[1:]}
    file = io.BytesIO()
    pictures[0].save(file, format=suffix[1:], **options)
    return write_atomically(path, file.getvalue())


def _one_picture(item):
    """One image of any kind -> PIL image of mode L or RGB."""
    pictures = to_pil(_decode(item, None, "white"))
    if len(pictures) != 1:
        raise InvalidInputError(f"expected one image, got {len(pictures)}: put them on one sheet with contact_sheet(x)")
    return pictures[0]


def _unit_batch(x):
    """Unit images (N, C, H, W) or (C, H, W), checked -> float32 (N, C, H, W), detached."""
    if not torch.is_tensor(x) or x.ndim not in (3, 4) or x.shape[-3] not in (1, 3) or 0 in x.shape:
        raise InvalidInputError(f"expected a tensor (N, C, H, W) or (C, H, W) with C = 1 or 3, got {_describe(x)}")
    return _unit(x.detach()).reshape(-1, *x.shape[-3:])
