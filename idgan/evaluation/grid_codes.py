"""Codes of the images of a data set, encoded in large batches."""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from idgan import __version__
from idgan.data import Dataset, FactorGrid, content_key
from idgan.data.dataset import images_apart
from idgan.errors import InvalidInputError
from idgan.files import write_atomically
from idgan.images import default_batch_size, encoder_view
from idgan.networks import NETWORKS, Posterior
from idgan.progress import progress as progress_bar
from idgan.rng import make_rng, seeded_rng

__all__ = ["GridCodes", "codes_file", "mean_codes", "posterior_bank", "thinned_grid"]

BATCH, CPU_BATCH = 1024, 64
"""Images rendered at a time, and images encoded at a time on a CPU. More would not fit into its caches."""
MIN_KEPT = 100_000
"""Fewer images are encoded in seconds, so that their codes are not kept on disk."""
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

    An image is encoded when its code is first asked for, and its code is kept. Images are not kept. The codes of all
    images are also kept on disk, for later measurements of the same encoder. A code does not depend on the other
    indices of a call: every batch has the same size, and the noise of a stochastic data set is a function of the
    image's index.

    Args:
        vae: the network that encodes.
        dataset: a data set with factors.
        device: device of `vae`.
        progress: show how many images are encoded.
        path: file of the codes of all images, see `codes_file`. None keeps none on disk.
    """

    def __init__(
        self,
        vae: Any,
        dataset: Dataset,
        device: torch.device | str,
        progress: bool = True,
        path: Path | None = None,
    ) -> None:
        if dataset.factors is None:
            raise InvalidInputError("grid codes need ground-truth factors, which this data set does not have")
        self.factor_grid = dataset.factors
        self._vae = vae
        self._dataset = dataset
        self._device = torch.device(device)
        self._progress = progress
        self._path = path
        self._encoded = torch.zeros(len(self.factor_grid), dtype=torch.bool, device="cpu")
        self._codes = torch.empty(0, dtype=torch.float32, device="cpu")
        if path and path.is_file() and (codes := read_codes(path, len(self._encoded))) is not None:
            self._codes, self._encoded[:] = codes, True

    def __call__(self, indices: Tensor) -> Tensor:
        missing = indices[~self._encoded[indices]].unique()
        if len(missing):
            with progress_bar(len(missing), "encode", "image", self._progress, leave=False) as bar:
                for part in missing.split(BATCH):
                    self._encode(part)
                    bar.update(len(part))
            if self._path and self._encoded.all():
                self._write()
        return self._codes[indices]

    @torch.no_grad()
    def _encode(self, indices: Tensor) -> None:
        """Encode the images at `indices`, at most `BATCH` of them."""
        # Kernels for other batch sizes differ in the last bit, so the last batch is filled up with copies of an image.
        filled = torch.cat([indices, indices[-1:].expand(-len(indices) % _encoder_batch(self._device))])
        if self._dataset.stochastic:
            rngs = [make_rng(NOISE, int(i)) for i in filled]
            means = _posterior_means(self._vae, images_apart(self._dataset, filled.to(self._device), rngs))
        else:
            means = mean_codes(self._vae, self._dataset, filled, self._device)
        if not len(self._codes):
            self._codes = torch.empty(len(self._encoded), means.shape[1], dtype=means.dtype, device="cpu")
        self._codes[indices] = means[: len(indices)]
        self._encoded[indices] = True

    def _write(self) -> None:
        assert self._path
        try:
            write_atomically(self._path, safetensors.torch.save({"codes": self._codes}))
        except OSError as error:
            warnings.warn(f"codes of the data set were not kept: {error}", stacklevel=2)


def codes_file(vae: Any, dataset: Dataset, directory: Path) -> Path | None:
    """The file in `directory` for the codes of all images of `dataset` by `vae`. Its name is a hash of both.

    The version of this package is hashed, too, because the code of networks may change.

    None if `vae` is not a registered network, which its config and its state determine, or if there are fewer than
    `MIN_KEPT` images.
    """
    config = getattr(vae, "config", None)
    if NETWORKS.name_of(type(config)) is None or len(dataset) < MIN_KEPT:
        return None
    hashed = hashlib.sha256(f"{__version__} {content_key(dataset)} {config!r}".encode())
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(vae.state_dict().items())}
    hashed.update(safetensors.torch.save(state))
    return directory / f"codes-{hashed.hexdigest()[:32]}.safetensors"


def read_codes(path: Path, count: int) -> Tensor | None:
    """The codes (count, c_dim) in the file at `path`. None, with a warning, if the file is damaged."""
    try:
        codes = safetensors.torch.load_file(path)["codes"]
        if codes.ndim != 2 or len(codes) != count or not codes.isfinite().all():
            raise InvalidInputError(f"it holds {tuple(codes.shape)}, and {count} finite codes were expected")
        return codes
    except (OSError, SafetensorError, KeyError, InvalidInputError) as error:
        warnings.warn(f"{path} is damaged ({error}); the images are encoded again", stacklevel=3)
        return None


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
