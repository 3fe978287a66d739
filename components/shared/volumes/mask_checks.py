"""Checks of a specimen's mask: the reasons to doubt that it shows one specimen and not something else.

Each limit is far from what a mask of one specimen in free surroundings measures; 72 phantoms, 64 voxels wide, are given
for comparison.
"""

import math
from dataclasses import dataclass

SMALLEST_SHARE, LARGEST_SHARE = 1e-3, 0.7
"""Share of the scanned voxels; 0.05 to 0.24 for phantoms. A tenth of the edge of a volume is 0.001 of it; a ball that
touches all six faces is 0.52, so more than 0.7 is the surroundings rather than a body in them."""
LARGEST_FACE_SHARE = 0.1
"""Share of one face of the volume; at most 0.03 for phantoms. A specimen that is cut off there has a larger section."""
LARGEST_FIELD_SHARE = 0.1
"""Share of the surface of a round field of view."""
LARGEST_SECOND_SHARE = 0.25
"""Voxels of the second object as a share of the specimen's; at most 0.006 for phantoms. A quarter of the voxels is
0.63 of the edge."""
LOWEST_CONTRAST = 3.0
"""Distance of surface and background as a multiple of the background's standard deviation; at least 4.3 for phantoms,
and 0.9 for normally distributed noise without a specimen. Below 3, noise moves the surface of a thin wall so far that
more than 2 % of the mask is wrong."""


@dataclass(frozen=True)
class MaskMeasures:
    """The measures of a mask by which it is checked.

    Attributes:
        share: Share of the scanned voxels in the mask.
        face_share: Largest share of a face of the volume in the mask.
        field_share: Share of bright voxels among those beside the padding; 0 without padding.
        second_share: Voxels of the second largest object as a share of those of the mask.
        contrast: Distance of surface and background as a multiple of the background's standard deviation.
    """

    share: float
    face_share: float
    field_share: float
    second_share: float
    contrast: float


def doubts_of(measures: MaskMeasures) -> tuple[str, ...]:
    """Return the reasons why a mask is doubtful; none if it is not."""
    doubts = {
        f"it is only {measures.share:.2%} of the volume": measures.share < SMALLEST_SHARE,
        f"it is {measures.share:.0%} of the volume": measures.share > LARGEST_SHARE,
        f"it touches the border of the volume with {measures.face_share:.0%} of a face": (
            measures.face_share > LARGEST_FACE_SHARE
        ),
        f"it touches the border of the field of view with {measures.field_share:.0%} of it": (
            measures.field_share > LARGEST_FIELD_SHARE
        ),
        f"a second object has {measures.second_share:.0%} of its size": measures.second_share > LARGEST_SECOND_SHARE,
        f"its contrast with the surroundings is only {measures.contrast:.1f} times their noise": (
            math.isfinite(measures.contrast) and measures.contrast < LOWEST_CONTRAST
        ),
    }
    return tuple(doubt for doubt, applies in doubts.items() if applies)
