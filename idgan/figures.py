"""Pictures of what a sampler does, as the paper shows them: samples beside the decoder's, reconstructions, traversals."""

import torch

from idgan.images import grid, side_by_side

__all__ = ["sample_sheet", "traversal_sheet", "vae_sheet"]

TILE = 128
"""Small images are enlarged, by whole factors, to at most this many pixels."""


def _sheet(x, columns=None):
    return grid(x.cpu(), columns=columns, scale=max(1, TILE // x.shape[-1]))


def sample_sheet(sampler, c, s, columns=None):
    """Figure 4: images of the codes `c` (N, c_dim), `s` (N, s_dim) by the generator, and beside them the decoder's of the same c; a PIL image."""
    generated, decoded = sampler.sample(c, s), sampler.decode(c)
    return side_by_side([_sheet(generated, columns), _sheet(decoded, columns)], ["generator G(s, c)", "VAE decoder, same c"])


def traversal_sheet(sampler, c=None, s=None, dims=None, span=(-3.0, 3.0), steps=7, *, seed=0):
    """One row a code dimension, swept over `span`: the generator's images, and beside them the decoder's; a PIL image. Arguments: `Sampler.traverse`."""
    dims = (sampler.active_dims or range(sampler.c_dim)) if dims is None else dims
    if c is None:
        c, drawn = sampler.codes(1, seed)
        s = drawn if s is None else s
    generated = sampler.traverse(c, s, dims, span, steps, seed=seed).flatten(0, 1)
    sweep = torch.linspace(*span, steps).tolist()
    decoded = torch.cat([sampler.decode(sampler.changed(c, {dim: value}, absolute=True)) for dim in dims for value in sweep])
    rows = ", ".join(map(str, dims))
    return side_by_side([_sheet(generated, steps), _sheet(decoded, steps)], [f"generator, dimensions {rows}", "VAE decoder"])


@torch.no_grad()
def vae_sheet(vae, x, span=(-3.0, 3.0), steps=7):
    """A VAE alone: images `x` (N, C, 64, 64) in [0, 1], its reconstructions, and its traversals from the first image, the most telling dimension first."""
    posterior = vae.encode(x)
    dims = posterior.kl().mean(0).argsort(descending=True).tolist()
    path = posterior.mean[:1].repeat(len(dims), steps, 1)
    for row, dim in zip(path, dims):
        row[:, dim] = torch.linspace(*span, steps)
    panels = [_sheet(x), _sheet(vae.decode(posterior.mean)), _sheet(vae.decode(path.flatten(0, 1)), steps)]
    return side_by_side(panels, ["input x", "reconstruction", f"decoder, dimensions {', '.join(map(str, dims))}"])
