"""dSprites (Matthey et al., 2017): 737,280 binary 64x64 images of a white sprite on black, rendered on demand.

No download is needed. Each published image is a polygon filled without anti-aliasing, and `render` repeats that
computation. One image in eight thousand differs from the published one, in one pixel. `DSprites(path)` reads the
published file instead.
"""

import functools
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idgan.data.dataset import Dataset, register_dataset
from idgan.data.factors import FactorGrid
from idgan.errors import DataError
from idgan.files import user_path

__all__ = ["DSprites", "is_dsprites", "render"]

FACTORS = FactorGrid(sizes=(3, 6, 40, 32, 32), names=("shape", "scale", "orientation", "position_x", "position_y"))
RESOLUTION = 64
SUBPIXELS = 256
"""Vertices are rounded to 1/256 px. In that unit, integer arithmetic decides exactly whether a pixel is inside."""
VERTICES = 150
"""Vertices of the heart, the longest outline. The others repeat their last vertex, which adds edges of length zero."""


@register_dataset("dsprites")
class DSprites(Dataset):
    """The dSprites data set, with images (N, 1, 64, 64) in {0, 1}.

    Args:
        path: the published npz file, kept packed in memory (377 MB). None renders every image from its factors.

    Raises:
        DataError: the file at `path` is missing, damaged, or not the published dSprites.
    """

    resolution = RESOLUTION
    image_channels = 1
    factors: FactorGrid = FACTORS

    def __init__(self, path: str | Path | None = None) -> None:
        self._packed = None if path is None else read_published(path, len(self.factors))

    def __len__(self) -> int:
        return len(self.factors)

    def images(self, indices: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Images (N, 1, 64, 64) at `indices` (N,), on their device. Nothing is random, and `rng` is ignored."""
        indices = self.factors.check_indices(indices)
        images = render(indices) if self._packed is None else _unpack(self._packed, indices)
        return images[:, None]


# ------------------------------------------------------------------ rendering


def render(indices: Tensor) -> Tensor:
    """Sprites (N, 64, 64) float32 in {0, 1} of the dSprites indices (N,), on their device.

    A pixel is on if its center lies inside the outline. Centers on a left or bottom edge count. An edge crosses some
    pixel rows. In each of them it marks the first pixel to its right, with +1 if it runs up and -1 if it runs down. The
    running sum along a row is then 1 inside and 0 outside. Every step is exact, so all devices agree to the bit.
    """
    outlines, centers = _tables(indices.device)
    center = centers[FACTORS.factors(indices)[:, 3:]]  # (N, 2)
    start = ((outlines[indices // 32**2] + center[:, None]) * SUBPIXELS).round().long()
    end = start.roll(-1, dims=1)
    row_start, row_end = _first_row_below(start[..., 1]), _first_row_below(end[..., 1])

    # One entry for each (edge, crossed row). Sprites stay 2 px from the border, so rows and columns need no clipping.
    rows_crossed = (row_end - row_start).abs().flatten()
    edge = torch.repeat_interleave(rows_crossed)
    nth_row = torch.arange(len(edge), device=edge.device) - (rows_crossed.cumsum(0) - rows_crossed)[edge]
    row = torch.minimum(row_start, row_end).flatten()[edge] + nth_row
    x, y = start.flatten(0, 1)[edge].unbind(1)
    dx, dy = (end - start).flatten(0, 1)[edge].unbind(1)

    # Column of the first center at or right of the edge: ceil((x + (row_y - y) dx / dy - half) / SUBPIXELS).
    half = SUBPIXELS // 2
    row_y = row * SUBPIXELS + half
    numerator = ((x - half) * dy + (row_y - y) * dx) * dy.sign()
    column = -torch.div(-numerator, SUBPIXELS * dy.abs(), rounding_mode="floor")

    pixel = (edge // VERTICES * RESOLUTION + row) * RESOLUTION + column
    marks = torch.zeros(len(indices) * RESOLUTION**2, dtype=torch.float32, device=indices.device)
    marks.index_add_(0, pixel, -dy.sign().float())
    return marks.view(-1, RESOLUTION, RESOLUTION).cumsum(2)


def _first_row_below(y: Tensor) -> Tensor:
    """Index of the first pixel row with centers strictly below y (y points down)."""
    return torch.div(y - SUBPIXELS // 2, SUBPIXELS, rounding_mode="floor") + 1


@functools.cache
def _tables(device: torch.device) -> tuple[Tensor, ...]:
    """Outlines around the origin (3*6*40, 150, 2) and the 32 possible center coordinates (32,), float32 in px.

    They are computed in double on the CPU, so that every device holds the same numbers.
    """
    angle = -2 * np.pi * np.arange(40) / 39  # 39, not 40: orientations 0 and 39 coincide
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # (2, 2, 40)
    size = RESOLUTION * (0.5 + 0.1 * np.arange(6))
    outlines = np.einsum("s,ijo,hvj->hsovi", size, rotation, _unit_shapes()).reshape(-1, VERTICES, 2)
    centers = 16 + 32 * np.arange(32) / 31
    return tuple(torch.from_numpy(table).float().to(device) for table in (outlines, centers))


def _unit_shapes() -> np.ndarray:
    """Square, ellipse and heart of size 1, (3, 150, 2) as (x, y) with y down."""
    square = 0.15 * np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    t = 2 * np.pi * np.arange(100) / 100
    ellipse = 0.15 * np.stack([1.33 * np.cos(t), np.sin(t) / 1.33], axis=1)
    t = 2 * np.pi * np.arange(VERTICES) / VERTICES
    height = (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 14.5
    heart = 0.15 * np.stack([np.sin(t) ** 3, -height - 0.15], axis=1)
    return np.stack(
        [np.pad(shape, [(0, VERTICES - len(shape)), (0, 0)], mode="edge") for shape in (square, ellipse, heart)]
    )


# ------------------------------------------------------------------ the published file


def read_published(path: str | Path, count: int) -> Tensor:
    """The member `imgs` of the published npz, `count` images, as packed bits (count, 512) uint8.

    It is read as a stream, because it has 3 GB. No other member is opened, because `metadata` is a pickle.

    Raises:
        DataError: it cannot be read, has another shape, dtype or values, or its images are not in the published order.
    """
    path = user_path(path)
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file: expected the published dSprites npz")
    shape = (count, RESOLUTION, RESOLUTION)
    packed = np.empty((count, RESOLUTION**2 // 8), np.uint8)
    try:
        with zipfile.ZipFile(path) as archive, archive.open("imgs.npy") as member:
            np.lib.format.read_magic(member)
            header = np.lib.format.read_array_header_1_0(member)
            if header != (shape, False, np.dtype(np.uint8)):
                raise DataError(
                    f"{path}: imgs must be uint8 of shape {shape} in C order, "
                    f"found (shape, Fortran order, dtype) {header}"
                )
            for block in np.array_split(packed, -(-count // 4096)):
                content = np.frombuffer(member.read(len(block) * RESOLUTION**2), np.uint8).reshape(len(block), -1)
                if content.max() > 1:
                    raise DataError(f"{path}: imgs must hold 0 and 1 only, found {content.max()}")
                block[:] = np.packbits(content, axis=1)
    except (
        OSError,
        KeyError,
        ValueError,
        EOFError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DataError(
            f"{path} cannot be read as the published dSprites npz: {error}. Download it again, or leave path out"
        ) from error

    bits = torch.from_numpy(packed)
    probe = torch.linspace(0, count - 1, 500, dtype=torch.float64, device="cpu").long()
    wrong = (_unpack(bits, probe) != render(probe)).sum((1, 2))
    if wrong.max() > 1:
        raise DataError(
            f"{path}: image {probe[wrong.argmax()].item()} is not the published one "
            f"({wrong.max().item()} pixels differ)"
        )
    return bits


def _unpack(packed: Tensor, indices: Tensor) -> Tensor:
    """The images (N, 64, 64) at `indices` of packed bits."""
    bits = np.unpackbits(packed[indices.cpu()].numpy(), axis=1).reshape(-1, RESOLUTION, RESOLUTION)
    return torch.from_numpy(bits).float().to(indices.device)


def is_dsprites(dataset: Dataset | None) -> bool:
    """Whether `dataset` is dSprites or one of its variants. Features for those come with the package."""
    return getattr(dataset, "factors", None) == DSprites.factors
