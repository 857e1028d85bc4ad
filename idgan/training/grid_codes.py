"""Codes of a data set, or of all of a grid of factors, drawn a large batch at a time."""

import torch
from tqdm import tqdm

from idgan.images import encoder_view

__all__ = ["GridCodes", "mean_codes"]

BATCH, ON_CPU = 1024, 64
"""Images drawn at a time, and of them encoded at a time on the CPU, whose caches hold no more."""


@torch.no_grad()
def mean_codes(vae, source, indices, device):
    """Posterior means (N, c_dim) of the images at `indices` of `source`, on the CPU."""
    parts = []
    for part in indices.split(BATCH):
        x = encoder_view(source.images(part.to(device), torch.Generator().manual_seed(int(part[0]))), vae.config.resolution)
        at_once = x.contiguous(memory_format=torch.channels_last).split(ON_CPU if x.device.type == "cpu" else BATCH)
        parts += [vae.encode(few).mean.cpu() for few in at_once]
    return torch.cat(parts)


class GridCodes:
    """Mean codes of every image of a source with factors, encoded once: called with grid indices (N,), gives (N, c_dim)."""

    def __init__(self, vae, source, device, progress=True):
        self.grid = source.factors
        indices = torch.arange(len(self.grid))
        parts = tqdm(indices.split(16 * BATCH), desc="encoding the data set", unit="x16k", leave=False, disable=None if progress else True)
        self.table = torch.cat([mean_codes(vae, source, part, device) for part in parts])

    def __call__(self, indices):
        return self.table[indices]
