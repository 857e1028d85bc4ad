"""Data sets. Each satisfies `Dataset`: `images(indices, rng)` gives (N, C, H, W) float32 in [0, 1]."""

from idgan.data.attributes import Attributes
from idgan.data.batches import Batch, Batches, Prefetcher
from idgan.data.cars import CARS
from idgan.data.celeba import CELEBA
from idgan.data.celeba_hq import CELEBA_HQ
from idgan.data.chairs import CHAIRS
from idgan.data.dataset import DATASETS, Dataset, check_dataset, content_key, register_dataset
from idgan.data.dsprites import DSprites, is_dsprites
from idgan.data.dsprites_variants import SPRITES, ColorDSprites, NoisyDSprites, ScreamDSprites, prepare_scream
from idgan.data.factors import FactorGrid
from idgan.data.image_folder import ImageFolder, PreparedImages, open_images, register_image_set
from idgan.data.image_set import IMAGE_SETS, CenterCrop, CenterSquare, ImageSet, Whole
from idgan.data.opening import open_dataset
from idgan.data.prepare import prepare_images

__all__ = [
    "CARS",
    "CELEBA",
    "CELEBA_HQ",
    "CHAIRS",
    "DATASETS",
    "IMAGE_SETS",
    "SPRITES",
    "Attributes",
    "Batch",
    "Batches",
    "CenterCrop",
    "CenterSquare",
    "ColorDSprites",
    "DSprites",
    "Dataset",
    "FactorGrid",
    "ImageFolder",
    "ImageSet",
    "NoisyDSprites",
    "Prefetcher",
    "PreparedImages",
    "ScreamDSprites",
    "Whole",
    "check_dataset",
    "content_key",
    "is_dsprites",
    "open_dataset",
    "open_images",
    "prepare_images",
    "prepare_scream",
    "register_dataset",
    "register_image_set",
]
