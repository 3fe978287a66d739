"""Compiled grey value statistics and voxel-wise operations, without temporary arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.compiled import compiled


@compiled
def grey_range(volume: NDArray[Any]) -> tuple[float, float, int]:
    """Return the lowest and the highest finite grey value, and the number of voxels that are not finite."""
    darkest, brightest, not_finite = np.inf, -np.inf, 0
    flat = volume.reshape(-1)
    for index in range(flat.size):
        grey = float(flat[index])
        if not np.isfinite(grey):
            not_finite += 1
            continue
        darkest = min(darkest, grey)
        brightest = max(brightest, grey)
    return darkest, brightest, not_finite


@compiled
def replace_non_finite(volume: NDArray[Any], replacement: float) -> None:
    """Replace NaN and infinite voxels of a C-contiguous volume, in place."""
    flat = volume.reshape(-1)
    for index in range(flat.size):
        if not np.isfinite(flat[index]):
            flat[index] = replacement


@compiled
def histogram(
    volume: NDArray[Any], corners: NDArray[np.int64], low: float, high: float, bins: int
) -> NDArray[np.int64]:
    """Count the voxels above `low` in equal bins up to `high`, int64 [bins]; the last bin includes brighter voxels.

    Args:
        volume: Grey values [Z, Y, X].
        corners: Box of the voxels to count, int64 [2, 3]: the first voxel, and one past the last.
        low: Lower end of the first bin.
        high: Upper end of the last bin.
        bins: Number of bins.
    """
    counts = np.zeros(bins, np.int64)
    scale = bins / (high - low)
    for a in range(corners[0, 0], corners[1, 0]):
        for b in range(corners[0, 1], corners[1, 1]):
            for c in range(corners[0, 2], corners[1, 2]):
                position = (float(volume[a, b, c]) - low) * scale
                if position > 0.0:
                    counts[int(min(position, bins - 1.0))] += 1
    return counts


@compiled
def mark_brighter(volume: NDArray[Any], threshold: float, out: NDArray[np.bool_]) -> None:
    """Write the mask of voxels brighter than a threshold to `out`."""
    grey, bright = volume.reshape(-1), out.reshape(-1)
    for index in range(grey.size):
        bright[index] = float(grey[index]) > threshold


@compiled
def row_ends(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first voxel of a mask in each row and one past the last, int64 [Z, Y, 2]; zeros for empty rows."""
    depth, height, width = mask.shape
    ends = np.zeros((depth, height, 2), np.int64)
    for a in range(depth):
        for b in range(height):
            for c in range(width):
                if mask[a, b, c]:
                    if ends[a, b, 1] == 0:
                        ends[a, b, 0] = c
                    ends[a, b, 1] = c + 1
    return ends


@compiled
def masked_histogram(
    volume: NDArray[Any], mask: NDArray[np.bool_], low: float, high: float, bins: int
) -> NDArray[np.int64]:
    """Count the voxels outside and inside a mask in equal bins from low to high, int64 [2, bins]."""
    counts = np.zeros((2, bins), np.int64)
    scale = bins / (high - low)
    grey, inside = volume.reshape(-1), mask.reshape(-1)
    for index in range(grey.size):
        position = (float(grey[index]) - low) * scale
        counts[int(inside[index]), int(min(max(position, 0.0), bins - 1.0))] += 1
    return counts


@compiled
def to_eight_bits(volume: NDArray[Any], low: float, high: float, out: NDArray[np.uint8]) -> None:
    """Map low..high to 0..255 with clipping and write the result to `out`, which may share the volume's memory."""
    source, target = volume.reshape(-1), out.reshape(-1)
    scale = 255.0 / (high - low)
    for index in range(source.size):
        position = (float(source[index]) - low) * scale
        target[index] = np.uint8(min(max(position, 0.0), 255.0) + 0.5)


@compiled
def byte_counts(volume: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the grey levels outside and inside a mask, int64 [2, 256]."""
    counts = np.zeros((2, 256), np.int64)
    grey, inside = volume.reshape(-1), mask.reshape(-1)
    for index in range(grey.size):
        counts[int(inside[index]), grey[index]] += 1
    return counts
