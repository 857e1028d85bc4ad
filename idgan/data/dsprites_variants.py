"""Color-, Noisy- and Scream-dSprites (Locatello et al., 2019): dSprites in RGB with a nuisance that is no ground-truth factor.

Colors, noise and crops are drawn anew at every access, on the CPU, so that one state of the random generator gives the same images on every device.
"""

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from idgan.data.directory import data_directory
from idgan.data.dsprites import RESOLUTION, DSprites
from idgan.errors import DataError, InvalidInputError
from idgan.files import write_atomically

__all__ = ["ColorDSprites", "NoisyDSprites", "ScreamDSprites", "prepare_scream"]

SCREAM_FILE = "the_scream.jpg"
SCREAM_BOX = (350, 274)  # (width, height) that the painting is shrunk to fit into
SCREAM_URL = (
    "https://upload.wikimedia.org/wikipedia/commons/c/c5/"
    "Edvard_Munch%2C_1893%2C_The_Scream%2C_oil%2C_tempera_and_pastel_on_cardboard%2C_91_x_73_cm%2C_National_Gallery_of_Norway.jpg"
)


class _PaintedDSprites:
    """A dataset of dSprites images in color, (N, 3, 64, 64) float32 in [0, 1]. A variant says how in `paint`."""

    resolution = RESOLUTION
    image_channels = 3
    factors = DSprites.factors
    stochastic = True  # two accesses to one index give two images

    def __init__(self, sprites=None):
        self.sprites = DSprites() if sprites is None else sprites

    def __len__(self):
        return len(self.factors)

    def images(self, indices, rng=None):
        """(N,) long indices -> (N, 3, 64, 64) images on the device of `indices`, randomness from the CPU `rng`."""
        return self.paint(self.sprites.images(indices), rng)


class ColorDSprites(_PaintedDSprites):
    """The sprite in one random color on black.

    Args:
        colors: "levels": each channel one of `levels` values linearly spaced in [0, 1] (the paper's; the sprite may come out black);
            "uniform": each channel from U(0.5, 1) (disentanglement_lib's).
        levels: number of values of a channel, 2 or more.
        sprites: the `DSprites` to paint; None renders them.
    """

    def __init__(self, colors="levels", levels=8, sprites=None):
        super().__init__(sprites)
        if colors not in ("levels", "uniform"):
            raise InvalidInputError(f'colors must be "levels" or "uniform", got {colors!r}')
        if levels < 2:
            raise InvalidInputError(f"levels must be 2 or more, got {levels}")
        self.colors, self.levels = colors, levels

    def paint(self, sprite, rng):
        shape = (len(sprite), 3, 1, 1)
        if self.colors == "levels":
            color = torch.randint(self.levels, shape, generator=rng) / (self.levels - 1)
        else:
            color = 0.5 + 0.5 * torch.rand(shape, generator=rng)
        return sprite * color.to(sprite.device)


class NoisyDSprites(_PaintedDSprites):
    """The white sprite on noise: each channel of each background pixel from U(0, 1).

    Args:
        sprites: the `DSprites` to paint; None renders them.
    """

    def paint(self, sprite, rng):
        noise = torch.rand((len(sprite), 3, RESOLUTION, RESOLUTION), generator=rng)
        return torch.maximum(sprite, noise.to(sprite.device))


class ScreamDSprites(_PaintedDSprites):
    """The sprite as a negative of its background, which is a random crop of Munch's The Scream, tinted.

    background = (crop + shift) / 2 with one RGB shift from U(0, 1) per image; sprite pixels are 1 - background.

    Args:
        image: file of the painting; None looks for the one that `prepare_scream` stored. It is shrunk to fit 350 x 274 with its aspect
            kept, so the portrait painting becomes 215 x 274 (width x height), and a crop starts at any of 152 x 211 places.
        sprites: the `DSprites` to paint; None renders them.

    Raises:
        DataError: no painting is there, or it is not a picture of sufficient size.
    """

    def __init__(self, image=None, sprites=None):
        super().__init__(sprites)
        if image is None:
            image = data_directory() / SCREAM_FILE
            if not image.exists():
                raise DataError(
                    f"Scream-dSprites needs the painting, and {image} is missing: run `idgan prepare scream`"
                )
        self.painting = read_painting(image)

    def paint(self, sprite, rng):
        height, width = self.painting.shape[1:]
        top = torch.randint(height - RESOLUTION + 1, (len(sprite),), generator=rng)
        left = torch.randint(width - RESOLUTION + 1, (len(sprite),), generator=rng)
        shift = torch.rand((len(sprite), 3, 1, 1), generator=rng)
        crops = (
            self.painting.unfold(1, RESOLUTION, 1).unfold(2, RESOLUTION, 1).permute(1, 2, 0, 3, 4)
        )  # a view: (top, left, 3, 64, 64)
        background = ((crops[top, left] + shift) / 2).to(sprite.device)
        return torch.where(sprite == 1, 1 - background, background)


# ------------------------------------------------------------------ the painting


def read_painting(file):
    """Path or binary file of a picture -> (3, H, W) float32 in [0, 1], shrunk to fit `SCREAM_BOX` with its aspect kept.

    Raises:
        DataError: not a picture, damaged, too small to be shrunk, or too narrow for a crop.
    """
    name = file if isinstance(file, (str, Path)) else "the content"
    try:
        with Image.open(file) as picture:
            size = picture.size
            picture.thumbnail(SCREAM_BOX)
            pixels = np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{name} cannot be read as a picture: {error}") from error
    height, width = pixels.shape[:2]
    if min(height, width) < RESOLUTION or (width < SCREAM_BOX[0] and height < SCREAM_BOX[1]):
        raise DataError(
            f"{name} is {size[0]} x {size[1]}: too small to be shrunk to fit {SCREAM_BOX} and then hold a {RESOLUTION} px crop"
        )
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


def prepare_scream(image=None, directory=None):
    """Store The Scream where `ScreamDSprites` looks for it, and return its `Path`.

    Args:
        image: a file of the painting; None downloads it (public domain) from Wikimedia Commons.
        directory: where to store it; None is `data_directory()`.

    Raises:
        DataError: the file is missing or not a picture of sufficient size, or the download failed. Nothing is stored then.
    """
    if image is None:
        content = _download(SCREAM_URL)
    else:
        try:
            content = Path(image).read_bytes()
        except OSError as error:
            raise DataError(f"{image} cannot be read: {error.strerror}") from error
    try:
        read_painting(io.BytesIO(content))
    except DataError as error:
        raise DataError(f"{image or SCREAM_URL} does not give the painting: {error}") from error
    return write_atomically(Path(directory or data_directory()) / SCREAM_FILE, content)


def _download(url):
    import requests  # only preparation needs it

    try:
        answer = requests.get(url, timeout=(10, 60), headers={"User-Agent": "idgan (prepare scream)"})
        answer.raise_for_status()
    except requests.RequestException as error:
        raise DataError(
            f"The Scream could not be downloaded: {error}. Save it in a browser from {url}, then run `idgan prepare scream` on that file"
        ) from error
    return answer.content
