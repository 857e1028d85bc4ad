"""CelebA-HQ (Karras et al., 2018): 30,000 faces of 1024 x 1024, used as published, or a copy in a smaller size."""

from idgan.data.image_folder import register_image_set
from idgan.data.image_set import ImageSet, Numbered, Whole

__all__ = ["CELEBA_HQ"]

COUNT = 30_000

CELEBA_HQ = register_image_set(
    ImageSet(
        "celebahq",
        Whole(1024),
        resolutions=(1024, 512, 256),
        title="CelebA-HQ: as published at 1024, checked and copied. Resized by Lanczos to a smaller resolution. "
        "For a copy in another size, add --source-side.",
        example="CelebAMask-HQ.zip",
        count=COUNT,
        origin="CelebA-HQ is made from CelebA by https://github.com/tkarras/progressive_growing_of_gans. Its images as "
        "files are the folder CelebA-HQ-img in CelebAMask-HQ.zip from https://github.com/switchablenorms/CelebAMask-HQ",
        within="CelebA-HQ-img",
        gaps=Numbered(0, COUNT),
        attribute_files=("CelebAMask-HQ-attribute-anno.txt",),
    )
)
