"""3D Chairs (Aubry et al., 2014): 1,393 chairs in 62 views of 600 x 600, of which the paper uses the center 450 x 450."""

from collections import Counter
from pathlib import PurePosixPath

from idgan.data.image_set import CenterCrop, ImageSet, few

__all__ = ["CHAIRS"]

VIEWS = 62


def missing_views(names):
    """Names the chairs some of whose views are missing; a view is CHAIR/renders/image_*.png."""
    views = Counter(PurePosixPath(name).parent.parent.name for name in names)
    return few([f"{VIEWS - count} views of {chair}" for chair, count in views.items() if chair and count < VIEWS])


CHAIRS = ImageSet(
    "chairs",
    resolution=64,
    crop=CenterCrop(450, width=600, height=600),
    count=1393 * VIEWS,
    origin="3D Chairs is rendered_chairs.tar from https://www.di.ens.fr/willow/research/seeing3Dchairs/",
    within="renders",
    gaps=missing_views,
)
