"""Color-, Noisy- and Scream-dSprites (Locatello et al., 2019): dSprites in RGB with a nuisance that is no ground-truth
factor.

Colors, noise and crops are drawn anew at every access. They are drawn on the CPU, so that one state of the random
generator gives the same images on every device.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from idgan.data.dataset import Dataset, one_at_a_time, register_dataset
from idgan.data.directory import data_directory
from idgan.data.dsprites import RESOLUTION, DSprites
from idgan.data.factors import FactorGrid
from idgan.errors import DataError, InvalidInputError, MissingDependencyError, check_integer, missing_extra
from idgan.files import read_regular_file, write_atomically
from idgan.images import as_rgb

__all__ = ["SPRITES", "ColorDSprites", "NoisyDSprites", "ScreamDSprites", "prepare_scream"]

SCREAM_FILE = "the_scream.jpg"
SCREAM_BOX = (350, 274)
"""Width and height into which the painting is shrunk."""
SCREAM_URL = (
    "https://upload.wikimedia.org/wikipedia/commons/c/c5/"
    "Edvard_Munch%2C_1893%2C_The_Scream%2C_oil%2C_tempera_and_pastel_on_cardboard%2C_91_x_73_cm%2C_National_Gallery_of_Norway.jpg"
)


SPRITES = ("dsprites", "color-dsprites", "noisy-dsprites", "scream-dsprites")
"""Names of dSprites and its variants."""


class _PaintedDSprites(Dataset):
    """dSprites in color, with images (N, 3, 64, 64) in [0, 1]. A subclass defines `paint`."""

    resolution = RESOLUTION
    image_channels = 3
    factors: FactorGrid = DSprites.factors
    stochastic = True

    def __init__(self, sprites: DSprites | None = None) -> None:
        self.sprites = DSprites() if sprites is None else sprites

    def __len__(self) -> int:
        return len(self.factors)

    def images(self, indices: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Images (N, 3, 64, 64) at `indices` (N,), on their device. The CPU generator `rng` draws all randomness."""
        return self.paint(self.sprites.images(indices), rng)

    def images_apart(self, indices: Tensor, rngs: Sequence[torch.Generator]) -> Tensor:
        """As the function `images_apart`. The sprites are rendered together, because they are not random."""
        if type(self).images is not _PaintedDSprites.images:  # a subclass makes other images
            return one_at_a_time(self, indices, rngs)
        sprites = self.sprites.images(indices).split(1)
        return torch.cat([self.paint(sprite, rng) for sprite, rng in zip(sprites, rngs, strict=True)])

    def paint(self, sprite: Tensor, rng: torch.Generator | None) -> Tensor:
        """Color images (N, 3, 64, 64) of the sprites (N, 1, 64, 64)."""
        raise NotImplementedError


class ColorDSprites(_PaintedDSprites):
    """The sprite in one random color on black.

    Args:
        colors: "levels" draws each channel from `levels` values spaced linearly in [0, 1]. This is the paper's way. A
            sprite may come out black. "uniform" draws each channel from U(0.5, 1), as disentanglement_lib does.
        levels: number of values of a channel, 2 or more.
        sprites: the `DSprites` to paint. None renders them.
    """

    def __init__(self, colors: str = "levels", levels: int = 8, sprites: DSprites | None = None) -> None:
        super().__init__(sprites)
        if colors not in ("levels", "uniform"):
            raise InvalidInputError(f'colors must be "levels" or "uniform", got {colors!r}')
        check_integer(2, levels=levels)
        self.colors, self.levels = colors, levels

    def paint(self, sprite: Tensor, rng: torch.Generator | None) -> Tensor:
        shape = (len(sprite), 3, 1, 1)
        if self.colors == "levels":
            color = torch.randint(self.levels, shape, generator=rng, device="cpu").float() / (self.levels - 1)
        else:
            color = 0.5 + 0.5 * torch.rand(shape, generator=rng, dtype=torch.float32, device="cpu")
        return sprite * color.to(sprite.device)


class NoisyDSprites(_PaintedDSprites):
    """The white sprite on noise: each channel of each background pixel is from U(0, 1).

    Args:
        sprites: the `DSprites` to paint. None renders them.
    """

    def paint(self, sprite: Tensor, rng: torch.Generator | None) -> Tensor:
        shape = (len(sprite), 3, RESOLUTION, RESOLUTION)
        noise = torch.rand(shape, generator=rng, dtype=torch.float32, device="cpu")
        return torch.maximum(sprite, noise.to(sprite.device))


class ScreamDSprites(_PaintedDSprites):
    """The sprite as a negative of its background, a tinted random crop of Munch's The Scream.

    background = (crop + shift) / 2, with one RGB shift from U(0, 1) per image. Sprite pixels are 1 - background.

    Args:
        image: file of the painting. None takes the one that `prepare_scream` stored. It is shrunk to fit 350 x 274 with
            its aspect kept. The portrait painting becomes 215 x 274 (width x height), and a crop starts at any of 152 x
            211 places.
        sprites: the `DSprites` to paint. None renders them.

    Raises:
        DataError: no painting is there, or it is not a picture of sufficient size.
    """

    def __init__(self, image: str | Path | None = None, sprites: DSprites | None = None) -> None:
        super().__init__(sprites)
        if image is None:
            image = data_directory() / SCREAM_FILE
            if not image.exists():
                raise DataError(
                    f"Scream-dSprites needs the painting, and {image} is missing: run `idgan prepare scream`"
                )
        self.painting = read_painting(image)

    def paint(self, sprite: Tensor, rng: torch.Generator | None) -> Tensor:
        height, width = self.painting.shape[1:]
        top = torch.randint(height - RESOLUTION + 1, (len(sprite),), generator=rng, device="cpu")
        left = torch.randint(width - RESOLUTION + 1, (len(sprite),), generator=rng, device="cpu")
        shift = torch.rand((len(sprite), 3, 1, 1), generator=rng, dtype=torch.float32, device="cpu")
        windows = self.painting.unfold(1, RESOLUTION, 1).unfold(2, RESOLUTION, 1)
        crops = windows.permute(1, 2, 0, 3, 4)  # a view (top, left, 3, 64, 64)
        background = ((crops[top, left] + shift) / 2).to(sprite.device)
        return torch.where(sprite == 1, 1 - background, background)


# ------------------------------------------------------------------ the painting


def read_painting(image: str | Path) -> Tensor:
    """A picture file as (3, H, W) float32 in [0, 1], shrunk to fit `SCREAM_BOX` with its aspect kept.

    Raises:
        DataError: it is missing, damaged, not a picture, too small to be shrunk, or too narrow for a crop.
    """
    return _painting(_content(image), str(image))


def prepare_scream(image: str | Path | None = None, directory: str | Path | None = None) -> Path:
    """Store The Scream where `ScreamDSprites` looks for it, and return its `Path`.

    Args:
        image: a file of the painting. None downloads it (public domain) from Wikimedia Commons.
        directory: where to store it. None is `data_directory()`.

    Raises:
        DataError: the file is missing or not a picture of sufficient size, or the download failed. Nothing is stored
            then.
        MissingDependencyError: the download needs the extra `data`.
    """
    content = _download(SCREAM_URL) if image is None else _content(image)
    _painting(content, str(image or SCREAM_URL))
    return write_atomically(Path(directory or data_directory()) / SCREAM_FILE, content)


def _content(image: str | Path) -> bytes:
    try:
        return read_regular_file(image)
    except OSError as error:
        raise DataError(f"{image} cannot be read: {error.strerror}") from error


def _painting(content: bytes, name: str) -> Tensor:
    try:
        picture = as_rgb(content, fit=SCREAM_BOX)
    except InvalidInputError as error:
        raise DataError(f"{name} cannot be read as a picture: {error}") from error
    width, height = picture.size
    if min(height, width) < RESOLUTION or (width < SCREAM_BOX[0] and height < SCREAM_BOX[1]):
        raise DataError(
            f"{name} is too small: within {SCREAM_BOX[0]} x {SCREAM_BOX[1]} px it has {width} x {height} px. "
            f"It must fill one of these sides and hold a crop of {RESOLUTION} px"
        )
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def _download(url: str) -> bytes:
    try:
        import requests
    except ImportError as error:
        raise MissingDependencyError(
            missing_extra(f"the download of The Scream needs requests. Or save {url} and name that file", "data")
        ) from error
    try:
        response = requests.get(url, timeout=(10, 60), headers={"User-Agent": "idgan (prepare scream)"})
        response.raise_for_status()
    except requests.RequestException as error:
        raise DataError(
            f"The Scream could not be downloaded: {error}. "
            f"Save it in a browser from {url}, then run `idgan prepare scream` on that file"
        ) from error
    return response.content


# ------------------------------------------------------------------ names


@register_dataset("color-dsprites")
def color_dsprites(path: str | Path | None = None) -> ColorDSprites:
    """Color-dSprites, of the published dSprites file at `path` or rendered."""
    return ColorDSprites(sprites=DSprites(path))


@register_dataset("noisy-dsprites")
def noisy_dsprites(path: str | Path | None = None) -> NoisyDSprites:
    """Noisy-dSprites, of the published dSprites file at `path` or rendered."""
    return NoisyDSprites(sprites=DSprites(path))


@register_dataset("scream-dsprites")
def scream_dsprites(path: str | Path | None = None) -> ScreamDSprites:
    """Scream-dSprites, with the painting at `path` or the one that `prepare_scream` stored."""
    return ScreamDSprites(path)
