"""Figures of the paper for a sampler: samples, reconstructions, traversals and edits.

The VAE decoder's images stand next to the generator's. A model without a trained decoder has no decoder panel.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from idgan.codes import sweep
from idgan.images import as_batch, contact_sheet, encoder_view, side_by_side
from idgan.sampler import Sampler

if TYPE_CHECKING:
    from idgan.networks.protocols import VAENetwork

__all__ = [
    "code_grid_sheet",
    "edit_sheet",
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

Codes = tuple[Tensor, Tensor]


def sample_sheet(sampler: Sampler, c: object, s: object, columns: int | None = None) -> Image.Image:
    """Figure 4: images of the generator, and of the decoder for the same codes.

    Args:
        sampler: the model.
        c: codes (N, c_dim).
        s: nuisances (N, s_dim).
        columns: images per row.
    """
    c, s = sampler.complete(c, s)
    generated = {"generator G(s, c)": _sheet(_tiles_of(sampler, c, s), columns)}
    return _labeled(generated | _decoder_panel(sampler, c, "VAE decoder, same c", columns))


def code_grid_sheet(sampler: Sampler, c: Tensor, s: Tensor) -> Image.Image:
    """Figure 8: an N x N grid of images, every code with every nuisance.

    Images in a row share the active dimensions of c. Images in a column share s and the inactive dimensions of c. The
    decoder's image is at the left of each row.

    Args:
        sampler: the model.
        c: codes (N, c_dim).
        s: nuisances (N, s_dim).
    """
    n = len(c)
    pairs = torch.where(sampler.active, c[:, None], c[None])
    images = _tiles_of(sampler, pairs.flatten(0, 1), s.repeat(n, 1))
    generated = {"generator: a row shares c, a column s": _sheet(images, n)}
    return _labeled(_decoder_panel(sampler, c, columns=1) | generated)


def reconstruction_sheet(
    sampler: Sampler, images: object, *, seed: int = 0, crop: bool | int = False, codes: Codes | None = None
) -> Image.Image:
    """Figure 7: images, and what the decoder and the generator draw from their codes.

    Args:
        sampler: the model.
        images: images in any form that `idgan.images.as_batch` takes.
        seed: seed of the generator's nuisance.
        crop: cut images to their center square, see `as_batch`.
        codes: pair (c, s) from `Sampler.invert`. It adds a panel with the generator's images of this pair.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    panels = {"original": _sheet(_tiles(x))} | _decoder_panel(sampler, sampler.posterior(x).mean)
    panels["generator, same c"] = _sheet(_tiles_of(sampler, *sampler.complete(sampler.encode(x), seed=seed)))
    if codes is not None:
        panels["generator, inverted"] = _sheet(_tiles_of(sampler, *codes))
    return _labeled(panels)


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
    """Traversals by the generator and the decoder, one row per code dimension. Arguments as in `Sampler.traverse`."""
    c, s = sampler.complete(c, s, seed=seed)
    chosen = sampler.traversal_dims(dims)
    path = sweep(c, chosen, span, steps).flatten(0, 1)
    caption = f"generator, dimensions {', '.join(map(sampler.dim_label, chosen))}"
    return _labeled(
        {caption: _sheet(_tiles_of(sampler, path, s), steps)} | _decoder_panel(sampler, path, columns=steps)
    )


def traversal_frames(
    sampler: Sampler,
    c: object = None,
    *,
    dims: Sequence[int | str] | None = None,
    span: Sequence[float] = (-3.0, 3.0),
    steps: int = 7,
    seed: int = 0,
) -> list[Tensor]:
    """Traversals as an animation, forward and back. Arguments as in `Sampler.traverse`.

    Returns:
        Frames (C, H, W) in [0, 1], each a contact sheet with one tile per code dimension.
    """
    c, s = sampler.complete(c, seed=seed)
    path = sweep(c, sampler.traversal_dims(dims), span, steps)
    images = _tiles_of(sampler, path.flatten(0, 1), s).unflatten(0, path.shape[:2])
    forward = [_sheet(images[:, step]) for step in range(steps)]
    return forward + forward[-2:0:-1]


def edit_sheet(
    sampler: Sampler,
    images: object,
    changes: Mapping[int | str, float],
    *,
    absolute: bool = False,
    seed: int = 0,
    crop: bool | int = False,
    codes: Codes | None = None,
) -> Image.Image:
    """Images, their reconstructions and their edits. Arguments as in `Sampler.edit`.

    `codes` is the pair (c, s) to start from, for example from `Sampler.invert`. By default the encoder gives c, and
    `seed` draws s.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    c, s = sampler.complete(sampler.encode(x), seed=seed) if codes is None else codes
    edited = sampler.changed(c, changes, absolute=absolute)
    panels = {"original": _tiles(x), "reconstruction": _tiles_of(sampler, c, s), "edit": _tiles_of(sampler, edited, s)}
    return _labeled({caption: _sheet(panel) for caption, panel in panels.items()})


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
    path = sweep(posterior.mean[:1], dims, span, steps).flatten(0, 1)
    panels = {
        "input x": _sheet(_tiles(x)),
        "reconstruction": _sheet(_tiles(vae.decode(posterior.mean))),
        f"decoder, dimensions {', '.join(map(str, dims))}": _sheet(_tiles(vae.decode(path)), steps),
    }
    return _labeled(panels)


def _labeled(panels: Mapping[str, Tensor]) -> Image.Image:
    """Contact sheets by caption, side by side."""
    return side_by_side(list(panels.values()), list(panels))


def _decoder_panel(
    sampler: Sampler, c: Tensor, caption: str = "VAE decoder", columns: int | None = None
) -> dict[str, Tensor]:
    """The decoder's images of codes as {caption: contact sheet}, or {} without a trained decoder."""
    return {} if "decoder" in sampler.untrained else {caption: _sheet(_tiles(sampler.decode(c)), columns)}


def _tiles_of(sampler: Sampler, c: Tensor, s: Tensor) -> Tensor:
    """Tiles of the generator's images. Only one batch at a time exists at full size."""
    return torch.cat([_tiles(images) for images in sampler.render(c, s)])


def _tiles(x: Tensor) -> Tensor:
    """Images on the CPU, with at most `MAX_TILE` pixels per side."""
    return (encoder_view(x, MAX_TILE) if x.shape[-1] > MAX_TILE else x).cpu()


def _sheet(tiles: Tensor, columns: int | None = None) -> Tensor:
    """A contact sheet of tiles, which are enlarged to `MIN_TILE` pixels."""
    return contact_sheet(tiles, columns=columns, scale=max(1, MIN_TILE // tiles.shape[-1]))
