"""Codes of a data set, or of all of a grid of factors, encoded a large batch at a time."""

import torch
from tqdm import tqdm

from idgan.images import encoder_view

__all__ = ["GridCodes", "mean_codes"]

BATCH = 1024


@torch.no_grad()
def mean_codes(vae, source, indices, device):
    """Posterior means (N, c_dim) of the images at `indices` of `source`, on the CPU."""
    parts = []
    for part in indices.split(BATCH):
        x = encoder_view(source.images(part.to(device), torch.Generator().manual_seed(int(part[0]))), vae.config.resolution)
        parts.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).mean.cpu())
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
