"""CelebA (Liu et al., 2015): 202,599 aligned faces of 178 x 218. The paper uses the center 160 x 160."""

from idgan.data.image_folder import register_image_set
from idgan.data.image_set import CenterCrop, ImageSet, Numbered

__all__ = ["CELEBA"]

COUNT = 202_599
EYES = ((0.381, 0.527), (0.619, 0.527))
"""Centers of the eyes in the crop, in fractions of its side.

Mean over 494 images, every 30th of 15,000, as `idgan.images.faces.find_faces` finds them, made symmetric. The eyes of
single images scatter around it by 0.011 (one standard deviation) in each coordinate.
"""

CELEBA = register_image_set(
    ImageSet(
        "celeba",
        CenterCrop(160, width=178, height=218),
        resolutions=(64, 128, 256),
        title="CelebA: the center 160x160 of the aligned 178x218 images, resized by Lanczos. "
        "Resized copies are accepted.",
        example="img_align_celeba.zip",
        count=COUNT,
        origin="CelebA's aligned images are img_align_celeba.zip from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        within="img_align_celeba",
        gaps=Numbered(1, COUNT),
        eyes=EYES,
        attribute_files=("list_attr_celeba.txt", "list_attr_celeba.csv"),
    )
)
