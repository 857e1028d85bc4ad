"""CelebA-HQ (Karras et al., 2018): 30,000 faces of 1024 x 1024, used as published."""

from idgan.data.image_set import ImageSet, Numbered, Whole

__all__ = ["CELEBA_HQ"]

COUNT = 30_000

CELEBA_HQ = ImageSet(
    "celebahq",
    resolution=1024,
    crop=Whole(1024),
    count=COUNT,
    origin="CelebA-HQ is made from CelebA by https://github.com/tkarras/progressive_growing_of_gans; its images as files are "
    "the folder CelebA-HQ-img in CelebAMask-HQ.zip from https://github.com/switchablenorms/CelebAMask-HQ",
    within="CelebA-HQ-img",
    gaps=Numbered(0, COUNT),
)
