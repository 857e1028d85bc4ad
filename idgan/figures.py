"""Pictures of what a sampler does, as the paper shows them: samples beside the decoder's, reconstructions, traversals, edits."""

import torch

from idgan.images import as_batch, grid, side_by_side
from idgan.sampler import sweep

__all__ = ["edit_sheet", "sample_sheet", "traversal_frames", "traversal_sheet", "vae_sheet"]

TILE = 128
"""Small images are enlarged, by whole factors, to at most this many pixels."""


def _sheet(x, columns=None):
    return grid(x.cpu(), columns=columns, scale=max(1, TILE // x.shape[-1]))


def sample_sheet(sampler, c, s, columns=None):
    """Figure 4, a PIL image: what the generator makes of `c` (N, c_dim), `s` (N, s_dim), and beside it what the decoder makes of c."""
    generated, decoded = sampler.sample(c, s), sampler.decode(c)
    return side_by_side([_sheet(generated, columns), _sheet(decoded, columns)], ["generator G(s, c)", "VAE decoder, same c"])


def traversal_sheet(sampler, c=None, s=None, dims=None, span=(-3.0, 3.0), steps=7, *, seed=0):
    """A row a code dimension, swept over `span`: the generator's images, beside them the decoder's; a PIL image. As `Sampler.traverse`."""
    c, s = sampler.complete(c, s, seed=seed)
    dims = sampler.traversal_dims(dims)
    generated = sampler.traverse(c, s, dims, span, steps).flatten(0, 1)
    decoded = sampler.decode(sweep(c, dims, span, steps).flatten(0, 1))
    rows = ", ".join(map(str, dims))
    return side_by_side([_sheet(generated, steps), _sheet(decoded, steps)], [f"generator, dimensions {rows}", "VAE decoder"])


def traversal_frames(sampler, c=None, *, dims=None, span=(-3.0, 3.0), steps=7, seed=0):
    """The traversals as an animation, there and back: a list of (C, H, W) sheets with one tile a dimension. As `Sampler.traverse`."""
    images = sampler.traverse(c, None, dims, span, steps, seed=seed)
    there = [_sheet(images[:, step]) for step in range(steps)]
    return there + there[-2:0:-1]


def edit_sheet(sampler, images, changes, *, absolute=False, seed=0, crop=False):
    """Images in any form, their reconstructions, and the same with `changes` to their codes; a PIL image. As `Sampler.edit`."""
    x = as_batch(images, channels=sampler.image_channels, resolution=sampler.resolution, crop=crop)
    panels = [x, sampler.reconstruct(x, seed=seed), sampler.edit(x, changes, absolute=absolute, seed=seed)]
    return side_by_side([_sheet(panel) for panel in panels], ["original", "reconstruction", "edit"])


@torch.no_grad()
def vae_sheet(vae, x, span=(-3.0, 3.0), steps=7):
    """A VAE alone: images `x` (N, C, 64, 64) in [0, 1], their reconstructions, and traversals from the first, the most telling on top."""
    posterior = vae.encode(x)
    dims = posterior.kl().mean(0).argsort(descending=True).tolist()
    path = sweep(posterior.mean[:1], dims, span, steps).flatten(0, 1)
    panels = [_sheet(x), _sheet(vae.decode(posterior.mean)), _sheet(vae.decode(path), steps)]
    return side_by_side(panels, ["input x", "reconstruction", f"decoder, dimensions {', '.join(map(str, dims))}"])
