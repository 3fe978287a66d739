"""Detection of label maps: masks and segmentations, which are often stored beside their scans.

In a label map nearly all voxels belong to connected regions of one value. In a scan, neighbouring voxels differ: by
noise, and after noise reduction by edges and gradients, except in a background that was set to one value.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import Volume

FEW_VALUES, MANY_VALUES = 3, 64
"""A volume of at most FEW_VALUES is a label map; with more than MANY_VALUES it may be a smooth scan in eight bits."""
SMALLEST_CONSTANCY = 0.35
"""Share of a value's neighbours along the rows that have the same value, in regions of about two voxels."""
SMALLEST_REGION_SHARE = 0.97
"""Smallest share of voxels in constant regions, of all voxels outside the commonest value.

Measured: 0.998 and more for label maps; at most 0.94 for five real volumes, saturated or reduced to 16 to 64 grey
levels, with a median or Gaussian filter.
"""
LARGEST_SHARE_OF_A_SCAN = 0.5
"""A few rows with a smaller share are certainly those of a scan."""
LARGEST_STEP_SHARE = 0.5
"""Largest share of changes between consecutive values: in a smooth scan nearly all changes are of one level."""
_FIRST_ROWS, _MAX_ROWS = 128, 1024
"""Numbers of rows that are examined: the first is enough for a scan with noise, the second decides."""


def refuse_label_map(volume: Volume) -> None:
    """Refuse a volume that is a label map and not a scan.

    Raises:
        BadSourceFileError: The volume is a label map.
    """
    values, ranks = _sample_rows(volume.grey, _FIRST_ROWS)
    if len(values) > FEW_VALUES and not _has_constant_regions(ranks, len(values), LARGEST_SHARE_OF_A_SCAN):
        return
    values, ranks = _sample_rows(volume.grey, _MAX_ROWS)
    if len(values) <= FEW_VALUES or _has_constant_regions(ranks, len(values), SMALLEST_REGION_SHARE):
        examples = ", ".join(f"{value:g}" for value in values[:5])
        raise BadSourceFileError(
            f"a mask or label map ({len(values)} values in regions of one value: {examples}"
            f"{', ...' if len(values) > 5 else ''})",
            "the grey values of a scan",
            "Move masks and label maps out of the folder of the scans.",
        )


def _sample_rows(grey: NDArray[Any], most_rows: int) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Return the different values of evenly spaced rows, ascending, and the rank of each voxel among them [N, X]."""
    rows = grey.reshape(-1, grey.shape[-1])
    step = -(-len(rows) // most_rows)
    while math.gcd(step, grey.shape[1]) > 1:  # so that the rows are spread over all layers and all heights
        step += 1
    rows = rows[::step]
    values, ranks = np.unique(rows, return_inverse=True)
    return values, ranks.reshape(rows.shape)


def _has_constant_regions(ranks: NDArray[np.intp], count: int, smallest_share: float) -> bool:
    voxels = np.bincount(ranks.ravel(), minlength=count)
    first, second = ranks[:, :-1].ravel(), ranks[:, 1:].ravel()
    is_equal = first == second
    neighbours = np.bincount(first, minlength=count) + np.bincount(second, minlength=count)
    constancy = 2 * np.bincount(first[is_equal], minlength=count) / np.maximum(neighbours, 1)
    voxels[voxels.argmax()] = 0  # the background
    region_share = voxels[constancy >= SMALLEST_CONSTANCY].sum() / max(1, voxels.sum())
    steps = np.abs(first - second)[~is_equal]
    is_smooth = count > MANY_VALUES and (steps == 1).mean() > LARGEST_STEP_SHARE
    return bool(region_share >= smallest_share and not is_smooth)
