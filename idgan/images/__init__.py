"""Images in and out. Only this package knows pixel ranges, file formats and array layouts.

Inside the package an image batch is a float tensor (N, C, H, W). "Unit" images have values in [0, 1]: the public API,
data sets and VAEs use them. "Signed" images have values in [-1, 1]: GANs use them.
"""

from idgan.images.batch import as_batch, as_rgb
from idgan.images.pixels import default_batch_size, encoder_view, psnr, to_pil, to_signed, to_uint8, to_unit
from idgan.images.reading import IMAGE_SUFFIXES, OTHER_IMAGE_SUFFIXES, pixel_limit
from idgan.images.sheets import (
    PICTURE_SUFFIXES,
    contact_sheet,
    labeled_grid,
    save_animation,
    save_gif,
    save_image,
    save_mp4,
    save_png,
    side_by_side,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "OTHER_IMAGE_SUFFIXES",
    "PICTURE_SUFFIXES",
    "as_batch",
    "as_rgb",
    "contact_sheet",
    "default_batch_size",
    "encoder_view",
    "labeled_grid",
    "pixel_limit",
    "psnr",
    "save_animation",
    "save_gif",
    "save_image",
    "save_mp4",
    "save_png",
    "side_by_side",
    "to_pil",
    "to_signed",
    "to_uint8",
    "to_unit",
]
