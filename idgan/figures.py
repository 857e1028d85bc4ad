"""Pictures of what a sampler does, as the paper shows them: samples beside the decoder's, reconstructions, traversals, edits.

A decoder that nothing has trained has no panel.
"""

import torch

from idgan.images import as_batch, contact_sheet, default_batch_size, encoder_view, side_by_side
from idgan.sampler import sweep

__all__ = [
    "code_grid_sheet",
    "edit_sheet",
    "reconstruction_sheet",
    "sample_sheet",
    "traversal_frames",
    "traversal_sheet",
    "vae_sheet",
]

TILE = 128
"""Small images are enlarged, by whole factors, to at most this many pixels."""
MAX_TILE = 256
"""Larger images are reduced to this many pixels, by area averaging."""


def _tiles(x):
    return (encoder_view(x, MAX_TILE) if x.shape[-1] > MAX_TILE else x).cpu()


def _sheet(x, columns=None):
    x = _tiles(x)
    return contact_sheet(x, columns=columns, scale=max(1, TILE // x.shape[-1]))


@torch.no_grad()
def _drawn(sampler, c, s):
    """Tiles of G(s, c) at `c` (N, c_dim) and `s` (N or 1, s_dim) as they are, reduced batch by batch: no more is held at full size."""
    size = default_batch_size(sampler.resolution)
    return torch.cat([_tiles(sampler(*pair)) for pair in zip(c.split(size), s.expand(len(c), -1).split(size))])


def _codes(sampler, x, seed, codes):
    """The pair `codes`, or if that is None what the encoder reads of images `x`, completed by `seed`."""
    return sampler.complete(sampler.encode(x), seed=seed) if codes is None else codes


def _decoded(sampler, c, caption="VAE decoder", columns=None):
    """What the decoder makes of codes, as {caption: sheet}; nothing where nothing has trained it."""
    return {} if "decoder" in sampler.untrained else {caption: _sheet(sampler.decode(c), columns)}


def _beside(panels):
    return side_by_side(list(panels.values()), list(panels))


def sample_sheet(sampler, c, s, columns=None):
    """Figure 4, a PIL image: what the generator makes of `c` (N, c_dim), `s` (N, s_dim), and beside it what the decoder makes of c."""
    c, s = sampler.complete(c, s)
    generated = {"generator G(s, c)": _sheet(_drawn(sampler, c, s), columns)}
    return _beside(generated | _decoded(sampler, c, "VAE decoder, same c", columns))


def code_grid_sheet(sampler, c, s):
    """Figure 8, a PIL image: every one of `c` (N, c_dim) with every one of `s` (N, s_dim); N x N images, and the decoder's beside each row.

    Images of a row share what their code says of an image, those of a column all else: s and the collapsed dimensions of c.
    """
    n = len(c)
    pairs = torch.where(sampler.active, c[:, None], c[None])
    images = _drawn(sampler, pairs.flatten(0, 1), s.repeat(n, 1))
    return _beside(_decoded(sampler, c, columns=1) | {"generator: a row shares c, a column s": _sheet(images, n)})


def reconstruction_sheet(sampler, images, *, seed=0, crop=False, codes=None):
    """Figure 7, a PIL image: images in any form, and beside them what the decoder and the generator make of their codes.

    The generator's nuisance is drawn by `seed`. `codes`, a pair (c, s) that `Sampler.invert` found, adds what the generator makes of it.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    panels = {"original": _sheet(x)} | _decoded(sampler, sampler.posterior(x).mean)
    panels["generator, same c"] = _sheet(_drawn(sampler, *_codes(sampler, x, seed, None)))
    if codes is not None:
        panels["generator, inverted"] = _sheet(_drawn(sampler, *codes))
    return _beside(panels)


def traversal_sheet(sampler, c=None, s=None, dims=None, span=(-3.0, 3.0), steps=7, *, seed=0):
    """A row a code dimension, swept over `span`: the generator's images, beside them the decoder's; a PIL image. As `Sampler.traverse`."""
    c, s = sampler.complete(c, s, seed=seed)
    dims = sampler.traversal_dims(dims)
    path = sweep(c, dims, span, steps).flatten(0, 1)
    rows = ", ".join(map(str, dims))
    return _beside(
        {f"generator, dimensions {rows}": _sheet(_drawn(sampler, path, s), steps)}
        | _decoded(sampler, path, columns=steps)
    )


def traversal_frames(sampler, c=None, *, dims=None, span=(-3.0, 3.0), steps=7, seed=0):
    """The traversals as an animation, there and back: a list of (C, H, W) sheets with one tile a dimension. As `Sampler.traverse`."""
    c, s = sampler.complete(c, seed=seed)
    path = sweep(c, sampler.traversal_dims(dims), span, steps)
    images = _drawn(sampler, path.flatten(0, 1), s).unflatten(0, path.shape[:2])
    there = [_sheet(images[:, step]) for step in range(steps)]
    return there + there[-2:0:-1]


def edit_sheet(sampler, images, changes, *, absolute=False, seed=0, crop=False, codes=None):
    """Images in any form, their reconstructions, and the same with `changes` to their codes; a PIL image. As `Sampler.edit`.

    `codes`: the pair (c, s) to start from, such as `Sampler.invert` finds; None takes what the encoder reads, completed by `seed`.
    """
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    c, s = _codes(sampler, x, seed, codes)
    panels = [x, _drawn(sampler, c, s), _drawn(sampler, sampler.changed(c, changes, absolute=absolute), s)]
    return side_by_side([_sheet(panel) for panel in panels], ["original", "reconstruction", "edit"])


@torch.no_grad()
def vae_sheet(vae, x, span=(-3.0, 3.0), steps=7):
    """A VAE alone: images `x` (N, C, 64, 64) in [0, 1], their reconstructions, and traversals from the first, the most telling on top."""
    posterior = vae.encode(x)
    dims = posterior.kl().mean(0).argsort(descending=True).tolist()
    path = sweep(posterior.mean[:1], dims, span, steps).flatten(0, 1)
    panels = [_sheet(x), _sheet(vae.decode(posterior.mean)), _sheet(vae.decode(path), steps)]
    return side_by_side(panels, ["input x", "reconstruction", f"decoder, dimensions {', '.join(map(str, dims))}"])
