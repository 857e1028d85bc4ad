"""Codes of the images of a data set, encoded in large batches."""

from typing import Any

import torch
from torch import Tensor

from idgan.data import Dataset, FactorGrid
from idgan.errors import InvalidInputError
from idgan.images import default_batch_size, encoder_view
from idgan.networks import Posterior
from idgan.progress import progress as progress_bar
from idgan.rng import make_rng, seeded_rng

__all__ = ["GridCodes", "mean_codes", "posterior_bank", "thinned_grid"]

BATCH, CPU_BATCH = 1024, 64
"""Images rendered at a time, and images encoded at a time on a CPU. More would not fit into its caches."""
NOISE = -6
"""Key of the random numbers of a stochastic data set's images."""


def thinned_grid(grid: FactorGrid, max_values: int = 8) -> tuple[FactorGrid, Tensor]:
    """A grid with at most `max_values` evenly spaced values of each factor.

    Returns:
        The `FactorGrid`, and the index of each of its points in `grid` (N,).
    """
    values = [
        torch.linspace(0, size - 1, min(size, max_values), dtype=torch.float32, device="cpu").round().long()
        for size in grid.sizes
    ]
    thinned = FactorGrid(tuple(map(len, values)), grid.names)
    positions = thinned.factors(torch.arange(len(thinned), device="cpu"))
    return thinned, grid.indices(torch.stack([value[column] for value, column in zip(values, positions.T)], dim=1))


@torch.no_grad()
def mean_codes(vae: Any, dataset: Dataset, indices: Tensor, device: torch.device | str) -> Tensor:
    """Posterior means (N, c_dim) of the images at `indices` (N,) of `dataset`, on the CPU.

    The noise of a stochastic data set is a function of the first index of each batch of `BATCH` images.
    """
    parts = []
    for part in indices.split(BATCH):
        x = dataset.images(part.to(device), seeded_rng(int(part[0])))
        parts.append(_posterior_means(vae, x))
    return torch.cat(parts)


def _posterior_means(vae: Any, x: Tensor) -> Tensor:
    """Posterior means (N, c_dim) of images `x`, on the CPU."""
    view = encoder_view(x, vae.config.resolution).contiguous(memory_format=torch.channels_last)
    parameter = next(vae.parameters(), None) if hasattr(vae, "parameters") else None
    view = view if parameter is None else view.to(parameter.dtype)
    return torch.cat([vae.encode(part).mean.cpu() for part in view.split(_encoder_batch(x.device))])


def _encoder_batch(device: torch.device) -> int:
    return CPU_BATCH if device.type == "cpu" else BATCH


class GridCodes:
    """Mean codes of the images of a data set with factors: called with grid indices (N,), it returns codes (N, c_dim).

    An image is encoded when its code is first asked for, and its code is kept. Images are not kept. A code does not
    depend on the other indices of a call: every batch has the same size, and the noise of a stochastic data set is a
    function of the image's index.

    Args:
        vae: the network that encodes.
        dataset: a data set with factors.
        device: device of `vae`.
        progress: show how many images are encoded.
    """

    def __init__(self, vae: Any, dataset: Dataset, device: torch.device | str, progress: bool = True) -> None:
        if dataset.factors is None:
            raise InvalidInputError("grid codes need ground-truth factors, which this data set does not have")
        self.factor_grid = dataset.factors
        self._vae = vae
        self._dataset = dataset
        self._device = torch.device(device)
        self._progress = progress
        self._encoded = torch.zeros(len(self.factor_grid), dtype=torch.bool, device="cpu")
        self._codes = torch.empty(0, dtype=torch.float32, device="cpu")

    def __call__(self, indices: Tensor) -> Tensor:
        missing = indices[~self._encoded[indices]].unique()
        if len(missing):
            with progress_bar(len(missing), "encode", "image", self._progress, leave=False) as bar:
                for part in missing.split(BATCH):
                    self._encode(part)
                    bar.update(len(part))
        return self._codes[indices]

    @torch.no_grad()
    def _encode(self, indices: Tensor) -> None:
        """Encode the images at `indices`, at most `BATCH` of them."""
        # Kernels for other batch sizes differ in the last bit, so the last batch is filled up with copies of an image.
        filled = torch.cat([indices, indices[-1:].expand(-len(indices) % _encoder_batch(self._device))])
        if self._dataset.stochastic:
            images = [self._dataset.images(i.to(self._device), make_rng(NOISE, int(i))) for i in filled.split(1)]
            means = _posterior_means(self._vae, torch.cat(images))
        else:
            means = mean_codes(self._vae, self._dataset, filled, self._device)
        if not len(self._codes):
            self._codes = torch.empty(len(self._encoded), means.shape[1], dtype=means.dtype, device="cpu")
        self._codes[indices] = means[: len(indices)]
        self._encoded[indices] = True


@torch.no_grad()
def posterior_bank(
    vae: Any, dataset: Dataset, size: int, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Posterior:
    """The `Posterior` of `size` random images of `dataset`, on `device`.

    The CPU generator `rng` draws the images, and the noise of a stochastic data set.
    """
    indices = torch.randint(len(dataset), (size,), generator=rng, device="cpu")
    posteriors = []
    for part in indices.split(default_batch_size(dataset.resolution)):
        posteriors.append(vae.encode(encoder_view(dataset.images(part, rng), vae.config.resolution).to(device)))
    return Posterior.cat(posteriors)
