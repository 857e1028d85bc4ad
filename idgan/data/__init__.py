"""Data sets. Each is a source: `resolution`, `image_channels`, `len()`, and `images(indices, generator)` -> (N, C, H, W) float32 in [0, 1]."""

from idgan.data.batches import Batch, Batches, generator_of
from idgan.data.dsprites import DSprites
from idgan.data.dsprites_variants import ColorDSprites, NoisyDSprites, ScreamDSprites, prepare_scream
from idgan.data.factors import FactorGrid
from idgan.errors import InvalidInputError

__all__ = [
    "DATASETS",
    "Batch",
    "Batches",
    "ColorDSprites",
    "DSprites",
    "FactorGrid",
    "NoisyDSprites",
    "ScreamDSprites",
    "generator_of",
    "open_dataset",
    "prepare_scream",
]

DATASETS = {
    "dsprites": DSprites,
    "color-dsprites": lambda path=None: ColorDSprites(sprites=DSprites(path)),
    "noisy-dsprites": lambda path=None: NoisyDSprites(sprites=DSprites(path)),
    "scream-dsprites": ScreamDSprites,
}
"""Name -> function of an optional path (the published npz; for scream-dsprites the painting) that opens the data set."""


def open_dataset(name, path=None):
    """The data set called `name`; `path`: where its files are, if it has any that the package does not make or find itself.

    Raises:
        InvalidInputError: an unknown name.
        DataError: its files are missing or not what they should be.
    """
    if name not in DATASETS:
        raise InvalidInputError(f"unknown data set {name!r}; known: {', '.join(sorted(DATASETS))}")
    return DATASETS[name](path)
