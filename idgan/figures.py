"""Figures of the paper for a sampler: samples, reconstructions, traversals, interpolations and edits.

The VAE decoder's images stand next to the generator's. A model without a trained decoder has no decoder panel.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from idgan.codes import sweep
from idgan.errors import check_integer
from idgan.images import as_batch, encoder_view, labeled_grid, side_by_side
from idgan.sampler import Sampler

if TYPE_CHECKING:
    from idgan.networks.protocols import VAENetwork

__all__ = [
    "code_grid_sheet",
    "edit_sheet",
    "enlarged",
    "interpolation",
    "interpolation_frames",
    "interpolation_sheet",
    "reconstruction_sheet",
    "sample_sheet",
    "traversal_frames",
    "traversal_sheet",
    "vae_sheet",
]

MIN_TILE = 128
"""Smaller images are enlarged by a whole factor, to at most this many pixels."""
MAX_TILE = 256
"""Larger images are reduced to this many pixels by area averaging."""

MIN_FRAME = 256
"""`MIN_TILE` of an animation with one or two tiles."""
WIDTHS_PER_TEXT = 60
"""Width of a sheet, in units of its text size. So texts can be read when a page shows the sheet at 900 pixels."""
MIN_TEXT_SIZE = 14
"""Smallest size of texts, in pixels."""

Codes = tuple[Tensor, Tensor]


def sample_sheet(
    sampler: Sampler, c: object, s: object, columns: int | None = None, labels: Sequence[str] = ()
) -> Image.Image:
    """Figure 4: images of the generator, and of the decoder for the same codes.

    Args:
        sampler: the model.
        c: codes (N, c_dim).
        s: nuisances (N, s_dim).
        columns: images per row.
        labels: texts below the N images, such as their seeds.
    """
    c, s = sampler.complete(c, s)
    panels = [_Panel("generator G(s, c)", _tiles_of(sampler, c, s), columns, tile_labels=labels)]
    if "decoder" not in sampler.untrained:
        panels.append(_Panel("VAE decoder, same c", _tiles(sampler.decode(c)), columns, tile_labels=labels))
    return _sheet(panels)


def code_grid_sheet(sampler: Sampler, c: Tensor, s: Tensor, labels: Sequence[str] = ()) -> Image.Image:
    """Figure 8: an N x N grid of images, every code with every nuisance.

    Images in a row share the active dimensions of c. Images in a column share s and the inactive dimensions of c. The
    decoder's image is at the left of each row.

    Args:
        sampler: the model.
        c: codes (N, c_dim).
        s: nuisances (N, s_dim).
        labels: texts of the N pairs, such as their seeds. They label rows and columns.
    """
    n = len(c)
    pairs = torch.where(sampler.active, c[:, None], c[None])
    images = _tiles_of(sampler, pairs.flatten(0, 1), s.repeat(n, 1))
    headings = [f"s: {label}" for label in labels]
    rows = [f"c: {label}" for label in labels]
    panels = [_Panel("generator: a row shares c, a column s", images, n, rows, headings)]
    if "decoder" not in sampler.untrained:
        above = [""] if labels else []
        panels.insert(0, _Panel("VAE decoder", _tiles(sampler.decode(c)), 1, column_labels=above))
    return _sheet(panels)


def reconstruction_sheet(
    sampler: Sampler,
    images: object,
    *,
    seed: int = 0,
    crop: bool | int = False,
    codes: Codes | None = None,
    tuned: Sequence[Sampler] = (),
    photos: Sequence[Image.Image] = (),
) -> Image.Image:
    """Figure 7: images, and what the decoder and the generator draw from their codes.

    Args:
        sampler: the model.
        images: images in any form that `idgan.images.as_batch` takes.
        seed: seed of the generator's nuisance, if it is drawn.
        crop: cut images to their center square, see `as_batch`.
        codes: pair (c, s) from `Sampler.invert`. It adds a panel with the generator's images of this pair.
        tuned: for each image the sampler from `Sampler.tuned`. They add a panel with their images of `codes`.
        photos: pictures of what was cut, from `idgan.images.faces.cut_picture`. They come first.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    panels = [*_photo_panel(photos), _Panel("original", _tiles(x))]
    if "decoder" not in sampler.untrained:
        panels.append(_Panel("VAE decoder", _tiles(sampler.decode(sampler.posterior(x).mean))))
    pair = sampler.read(x, seed=seed)
    panels.append(_Panel("generator, same c", _tiles_of(sampler, *pair)))
    if codes is not None:
        panels.append(_Panel("generator, inverted", _tiles_of(sampler, *codes)))
        if tuned:
            panels.append(_Panel("generator, tuned", _tiles_of_each(tuned, *codes)))
    return _sheet(panels)


def traversal_sheet(
    sampler: Sampler,
    c: object = None,
    s: object = None,
    dims: Sequence[int | str] | None = None,
    span: Sequence[float] = (-3.0, 3.0),
    steps: int = 7,
    *,
    seed: int = 0,
) -> Image.Image:
    """Traversals by the generator and the decoder. Arguments as in `Sampler.traverse`.

    There is one row per code dimension with its name, and one column per value.
    """
    c, s = sampler.complete(c, s, seed=seed)
    shown = sampler.traversal_dims(dims)
    path = sweep(c, shown, span, steps)
    values = _value_labels(path[0, :, shown[0]])
    names = [sampler.dim_label(dim) for dim in shown]
    path = path.flatten(0, 1)
    panels = [_Panel("generator", _tiles_of(sampler, path, s), steps, names, values)]
    if "decoder" not in sampler.untrained:
        panels.append(_Panel("VAE decoder, same c", _tiles(sampler.decode(path)), steps, names, values))
    return _sheet(panels, stack=True)


def traversal_frames(
    sampler: Sampler,
    c: object = None,
    s: object = None,
    *,
    dims: Sequence[int | str] | None = None,
    span: Sequence[float] = (-3.0, 3.0),
    steps: int = 7,
    seed: int = 0,
) -> list[Image.Image]:
    """Traversals as an animation, forward and back. Arguments as in `Sampler.traverse`.

    Returns:
        Frames, each a contact sheet with one tile per code dimension. The name and the value are below the tile.
    """
    c, s = sampler.complete(c, s, seed=seed)
    shown = sampler.traversal_dims(dims)
    path = sweep(c, shown, span, steps)
    images = _tiles_of(sampler, path.flatten(0, 1), s).unflatten(0, path.shape[:2])
    names = [sampler.dim_label(dim) for dim in shown]
    forward = []
    for step, value in enumerate(path[0, :, shown[0]].tolist()):
        labels = [f"{name} {value:+.2f}" for name in names]
        forward.append(_grid(_Panel("", images[:, step], tile_labels=labels), MIN_TEXT_SIZE))
    return forward + forward[-2:0:-1]


def interpolation(start: Codes, end: Codes, steps: int) -> Codes:
    """Codes and nuisances on the straight line from one pair (c, s) to another, both ends included.

    Args:
        start, end: codes (1, c_dim) and nuisances (1, s_dim).
        steps: number of pairs, 2 or more.

    Returns:
        (steps, c_dim) and (steps, s_dim).
    """
    check_integer(2, steps=steps)
    weights = torch.linspace(0, 1, steps, dtype=torch.float32, device=start[0].device)[:, None]
    c, s = (torch.lerp(a, b, weights) for a, b in zip(start, end))
    return c, s


def interpolation_sheet(
    sampler: Sampler, start: Codes, end: Codes, steps: int = 9, names: Sequence[str] = ("A", "B")
) -> Image.Image:
    """An interpolation by the generator and the decoder, one row each.

    Args:
        sampler: the model.
        start, end, steps: see `interpolation`.
        names: what the two ends are called.
    """
    tiles = _interpolated(sampler, start, end, steps)
    columns = [names[0], *(f"{weight:.0%}" for weight in _weights(steps)[1:-1]), names[1]]
    return _sheet([_Panel("", torch.cat(list(tiles.values())), steps, list(tiles), columns)])


def interpolation_frames(
    sampler: Sampler, start: Codes, end: Codes, steps: int = 30, names: Sequence[str] = ("A", "B")
) -> list[Image.Image]:
    """An interpolation as an animation, forward and back. Arguments as in `interpolation_sheet`."""
    tiles = _interpolated(sampler, start, end, steps)
    forward = []
    for step, weight in enumerate(_weights(steps)):
        frame = torch.stack([images[step] for images in tiles.values()])
        where = f"{1 - weight:.0%} {names[0]}, {weight:.0%} {names[1]}"
        labels = [where, *([""] * (len(tiles) - 1))]
        panel = _Panel("", frame, len(tiles), column_labels=list(tiles), tile_labels=labels)
        forward.append(_grid(panel, MIN_TEXT_SIZE, MIN_FRAME))
    return forward + forward[-2:0:-1]


def _interpolated(sampler: Sampler, start: Codes, end: Codes, steps: int) -> dict[str, Tensor]:
    """Tiles of an interpolation (steps, C, H, W), of one size: by the generator and a trained decoder."""
    c, s = interpolation(start, end, steps)
    tiles = {"generator": _tiles_of(sampler, c, s)}
    if "decoder" not in sampler.untrained:
        tiles["VAE decoder"] = encoder_view(sampler.decode(c).cpu(), tiles["generator"].shape[-1])
    return tiles


def _weights(steps: int) -> list[float]:
    return [step / (steps - 1) for step in range(steps)]


def edit_sheet(
    sampler: Sampler,
    images: object,
    changes: Mapping[int | str, float],
    *,
    absolute: bool = False,
    seed: int = 0,
    crop: bool | int = False,
    codes: Codes | None = None,
    tuned: Sequence[Sampler] = (),
    photos: Sequence[Image.Image] = (),
) -> Image.Image:
    """Images, their reconstructions and their edits. Arguments as in `Sampler.edit`.

    `codes` is the pair (c, s) to start from, for example from `Sampler.invert`. By default `Sampler.read` finds it with
    `seed`. With `tuned`, each image is drawn by its sampler from `Sampler.tuned`. `photos` are pictures of what was
    cut, and come first.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    c, s = sampler.read(x, seed=seed) if codes is None else codes
    edited = sampler.changed(c, changes, absolute=absolute)
    names = [sampler.dim_label(sampler.dim_index(dim)) for dim in changes]
    texts = [f"{name} = {v:g}" if absolute else f"{name} {v:+g}" for name, v in zip(names, changes.values())]
    samplers = tuned or [sampler]
    panels = [
        *_photo_panel(photos),
        _Panel("original", _tiles(x)),
        _Panel("reconstruction", _tiles_of_each(samplers, c, s)),
        _Panel(f"edit: {', '.join(texts)}" if texts else "edit", _tiles_of_each(samplers, edited, s)),
    ]
    return _sheet(panels)


@torch.no_grad()
def vae_sheet(vae: "VAENetwork", x: Tensor, span: Sequence[float] = (-3.0, 3.0), steps: int = 7) -> Image.Image:
    """A VAE alone: images, their reconstructions, and traversals from the first image, largest KL on top.

    Args:
        vae: the network.
        x: images (N, C, 64, 64) in [0, 1].
        span: first and last value of each dimension.
        steps: images per dimension.
    """
    posterior = vae.encode(x)
    dims = posterior.kl().mean(0).argsort(descending=True).tolist()
    path = sweep(posterior.mean[:1], dims, span, steps)
    values = _value_labels(path[0, :, dims[0]])
    panels = [
        _Panel("input x", _tiles(x)),
        _Panel("reconstruction", _tiles(vae.decode(posterior.mean))),
        _Panel("decoder", _tiles(vae.decode(path.flatten(0, 1))), steps, [f"c{dim}" for dim in dims], values),
    ]
    return _sheet(panels)


def enlarged(x: Tensor, side: int) -> Tensor:
    """Images (N, C, H, H) in [0, 1], enlarged by the largest whole factor that makes them at most `side` pixels wide.

    Gray images, which are drawings, keep their hard pixels. Color is smoothed.
    """
    scale = max(1, side // x.shape[-1])
    if x.shape[1] == 1 or scale == 1:
        return x.repeat_interleave(scale, dim=-2).repeat_interleave(scale, dim=-1)
    return F.interpolate(x, scale_factor=scale, mode="bicubic").clamp(0, 1)


# ------------------------------------------------------------------ layout


class _Panel(NamedTuple):
    """Tiles (N, C, H, W) with a caption and labels. See `labeled_grid`."""

    caption: str
    tiles: Tensor
    columns: int | None = None
    row_labels: Sequence[str] = ()
    column_labels: Sequence[str] = ()
    tile_labels: Sequence[str] = ()


def _sheet(panels: Sequence[_Panel], *, stack: bool = False) -> Image.Image:
    """The panels side by side. With `stack`, wide panels stand one below the other.

    The size of texts follows from the width, see `WIDTHS_PER_TEXT`.
    """
    widths, heights = zip(*map(_size, panels))
    stacked = stack and sum(widths) > 2.5 * max(heights)
    width = max(widths) if stacked else sum(widths)
    text_size = max(MIN_TEXT_SIZE, width // WIDTHS_PER_TEXT)
    pictures = [_grid(panel, text_size) for panel in panels]
    return side_by_side(pictures, [panel.caption for panel in panels], stacked=stacked, text_size=text_size)


def _size(panel: _Panel) -> tuple[int, int]:
    """Width and height of a panel's tiles, in pixels."""
    count, side = len(panel.tiles), panel.tiles.shape[-1]
    side *= max(1, MIN_TILE // side)
    columns = min(panel.columns or math.ceil(math.sqrt(count)), count)
    return columns * side, math.ceil(count / columns) * side


def _grid(panel: _Panel, text_size: int, min_tile: int = MIN_TILE) -> Image.Image:
    """A panel without its caption. Its tiles are enlarged to `min_tile` pixels."""
    _, tiles, columns, rows, headings, labels = panel
    return labeled_grid(
        enlarged(tiles, min_tile),
        columns,
        row_labels=rows,
        column_labels=headings,
        tile_labels=labels,
        text_size=text_size,
    )


def _value_labels(values: Tensor) -> list[str]:
    """Values of a code dimension (N,) as short texts, such as -1.5, 0, +1.5."""
    return [f"{value:+.3g}" if value else "0" for value in values.tolist()]


def _photo_panel(photos: Sequence[Image.Image]) -> list[_Panel]:
    """A panel of pictures of one size, or [] without any."""
    if not photos:
        return []
    return [_Panel("photo", as_batch(list(photos), channels=3, resolution=photos[0].width))]


def _tiles_of_each(samplers: Sequence[Sampler], c: Tensor, s: Tensor) -> Tensor:
    """Tiles of the generators' images, by one sampler for all rows or by one for each row."""
    if len(samplers) == 1:
        return _tiles_of(samplers[0], c, s)
    return torch.cat([_tiles_of(*row) for row in zip(samplers, c.split(1), s.split(1))])


def _tiles_of(sampler: Sampler, c: Tensor, s: Tensor) -> Tensor:
    """Tiles of the generator's images. Only one batch at a time exists at full size."""
    return torch.cat([_tiles(images) for images in sampler.render(c, s)])


def _tiles(x: Tensor) -> Tensor:
    """Images on the CPU, with at most `MAX_TILE` pixels per side."""
    return (encoder_view(x, MAX_TILE) if x.shape[-1] > MAX_TILE else x).cpu()
