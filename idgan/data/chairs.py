"""3D Chairs (Aubry et al., 2014): 1,393 chairs in 62 views of 600 x 600. The paper uses the center 450 x 450."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from idgan.data.image_folder import register_image_set
from idgan.data.image_set import CenterCrop, ImageSet, few

__all__ = ["CHAIRS"]

VIEWS = 62


def missing_views(names: Sequence[str]) -> str:
    """Names the chairs with missing views. A view is CHAIR/renders/image_*.png."""
    views = Counter(PurePosixPath(name).parent.parent.name for name in names)
    return few([f"{VIEWS - count} views of {chair}" for chair, count in views.items() if chair and count < VIEWS])


CHAIRS = register_image_set(
    ImageSet(
        "chairs",
        CenterCrop(450, width=600, height=600),
        title="3D Chairs: the center 450x450 of the 600x600 renderings, resized by Lanczos.",
        example="rendered_chairs.tar",
        count=1393 * VIEWS,
        origin="3D Chairs is rendered_chairs.tar from https://www.di.ens.fr/willow/research/seeing3Dchairs/",
        within="renders",
        gaps=missing_views,
    )
)
