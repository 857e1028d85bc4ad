"""CelebA-HQ (Karras et al., 2018): 30,000 faces of 1024 x 1024, used as published, or a copy in a smaller size."""

from idgan.data.image_folder import register_image_set
from idgan.data.image_set import ImageSet, Numbered, Whole

__all__ = ["CELEBA_HQ"]

COUNT = 30_000
EYES = ((0.379, 0.485), (0.621, 0.485))
"""Centers of the eyes, in fractions of the side.

Mean over 100 images, every 40th of 4,000, as `idgan.images.faces.find_faces` finds them, made symmetric. The eyes of
single images scatter around it by 0.009 across and 0.005 down (one standard deviation).
"""

CELEBA_HQ = register_image_set(
    ImageSet(
        "celebahq",
        Whole(1024),
        resolutions=(1024, 512, 256),
        title="CelebA-HQ: the published 1024x1024 images, checked and copied. A smaller --resolution resizes them by "
        "Lanczos. If SOURCE has another size, add --source-side.",
        example="CelebAMask-HQ.zip",
        count=COUNT,
        origin="CelebA-HQ is made from CelebA by https://github.com/tkarras/progressive_growing_of_gans. Its images as "
        "files are the folder CelebA-HQ-img in CelebAMask-HQ.zip from https://github.com/switchablenorms/CelebAMask-HQ",
        within="CelebA-HQ-img",
        gaps=Numbered(0, COUNT),
        eyes=EYES,
        attribute_files=("CelebAMask-HQ-attribute-anno.txt",),
    )
)
