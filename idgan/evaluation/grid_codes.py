"""Codes of a data set, or of all of a grid of factors, drawn a large batch at a time."""

import torch
from tqdm import tqdm

from idgan.images import default_batch_size, encoder_view
from idgan.networks import Posterior

__all__ = ["GridCodes", "mean_codes", "posterior_bank"]

BATCH, ON_CPU = 1024, 64
"""Images drawn at a time, and of them encoded at a time on the CPU, whose caches hold no more."""


@torch.no_grad()
def mean_codes(vae, dataset, indices, device):
    """Posterior means (N, c_dim) of the images at `indices` of `dataset`, on the CPU."""
    parts = []
    for part in indices.split(BATCH):
        x = encoder_view(
            dataset.images(part.to(device), torch.Generator().manual_seed(int(part[0]))), vae.config.resolution
        )
        default_batch_size = x.contiguous(memory_format=torch.channels_last).split(
            ON_CPU if x.device.type == "cpu" else BATCH
        )
        parts += [vae.encode(few).mean.cpu() for few in default_batch_size]
    return torch.cat(parts)


class GridCodes:
    """Mean codes of every image of a dataset with factors, encoded once: called with grid indices (N,), gives (N, c_dim)."""

    def __init__(self, vae, dataset, device, progress=True):
        self.factor_grid = dataset.factors
        indices = torch.arange(len(self.factor_grid))
        parts = tqdm(
            indices.split(16 * BATCH),
            desc="encoding the data set",
            unit="x16k",
            leave=False,
            disable=None if progress else True,
        )
        self.table = torch.cat([mean_codes(vae, dataset, part, device) for part in parts])

    def __call__(self, indices):
        return self.table[indices]


@torch.no_grad()
def posterior_bank(vae, dataset, size, rng, device="cpu"):
    """The `Posterior` of `size` random images of the data set `dataset`, chosen (and, where they vary, made) by the CPU generator `rng`."""
    indices = torch.randint(len(dataset), (size,), generator=rng)
    parts = indices.split(default_batch_size(dataset.resolution))
    posteriors = [
        vae.encode(encoder_view(dataset.images(part, rng), vae.config.resolution).to(device)) for part in parts
    ]
    return Posterior.cat(posteriors)
