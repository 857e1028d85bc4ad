"""CelebA (Liu et al., 2015): 202,599 aligned faces of 178 x 218, of which the paper uses the center 160 x 160."""

from idgan.data.image_set import CenterCrop, ImageSet, Numbered

__all__ = ["CELEBA"]

COUNT = 202_599

CELEBA = ImageSet(
    "celeba",
    resolution=64,
    crop=CenterCrop(160, width=178, height=218),
    count=COUNT,
    origin="CelebA's aligned images are img_align_celeba.zip from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    within="img_align_celeba",
    gaps=Numbered(1, COUNT),
)
