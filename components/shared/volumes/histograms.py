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
def brightest_below(volume: NDArray[Any], limit: float) -> float:
    """Return the highest grey value below a limit."""
    brightest, flat = -np.inf, volume.reshape(-1)
    for index in range(flat.size):
        grey = float(flat[index])
        if grey < limit:
            brightest = max(brightest, grey)
    return brightest


@compiled
def darkest_above(volume: NDArray[Any], limit: float) -> float:
    """Return the lowest grey value above a limit."""
    darkest, flat = np.inf, volume.reshape(-1)
    for index in range(flat.size):
        grey = float(flat[index])
        if grey > limit:
            darkest = min(darkest, grey)
    return darkest


@compiled
def count_surface(volume: NDArray[Any], padding: float, threshold: float) -> tuple[int, int]:
    """Count the voxels beside the padding (by a face), and those of them that are brighter than a threshold.

    Args:
        volume: Grey values [Z, Y, X].
        padding: Highest grey value of the padding.
        threshold: Grey value of the bright voxels.
    """
    surface, bright = 0, 0
    depth, height, width = volume.shape
    for a in range(depth):
        for b in range(height):
            for c in range(width):
                grey = float(volume[a, b, c])
                if grey <= padding:
                    continue
                if (
                    (a > 0 and float(volume[a - 1, b, c]) <= padding)
                    or (a < depth - 1 and float(volume[a + 1, b, c]) <= padding)
                    or (b > 0 and float(volume[a, b - 1, c]) <= padding)
                    or (b < height - 1 and float(volume[a, b + 1, c]) <= padding)
                    or (c > 0 and float(volume[a, b, c - 1]) <= padding)
                    or (c < width - 1 and float(volume[a, b, c + 1]) <= padding)
                ):
                    surface += 1
                    bright += grey > threshold
    return surface, bright


@compiled
def mark_brighter(volume: NDArray[Any], threshold: float, out: NDArray[np.bool_]) -> None:
    """Write the mask of voxels brighter than a threshold to `out`."""
    grey, bright = volume.reshape(-1), out.reshape(-1)
    for index in range(grey.size):
        bright[index] = float(grey[index]) > threshold


@compiled
def fill_bright(volume: NDArray[Any], mask: NDArray[np.bool_], threshold: float, background: float) -> None:
    """Replace the voxels brighter than a threshold outside a mask by the background, in place."""
    grey, inside = volume.reshape(-1), mask.reshape(-1)
    for index in range(grey.size):
        if not inside[index] and float(grey[index]) > threshold:
            grey[index] = background


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
    volume: NDArray[Any], mask: NDArray[np.bool_], padding: float, low: float, high: float, bins: int
) -> NDArray[np.int64]:
    """Count the voxels outside and inside a mask in equal bins from low to high, int64 [2, bins].

    Args:
        volume: Grey values [Z, Y, X].
        mask: Mask of the specimen, bool [Z, Y, X].
        padding: Highest grey value of voxels that are not counted.
        low: Lower end of the first bin, which includes darker voxels.
        high: Upper end of the last bin, which includes brighter voxels.
        bins: Number of bins.
    """
    counts = np.zeros((2, bins), np.int64)
    scale = bins / (high - low)
    grey, inside = volume.reshape(-1), mask.reshape(-1)
    for index in range(grey.size):
        if float(grey[index]) <= padding:
            continue
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
def to_eight_bits_without_padding(
    volume: NDArray[Any], low: float, high: float, padding: float, level: int, out: NDArray[np.uint8]
) -> None:
    """Map low..high to 0..255 as `to_eight_bits` does, and padding to a level.

    Args:
        volume: Grey values [Z, Y, X].
        low: Grey value that becomes 0.
        high: Grey value that becomes 255.
        padding: Highest grey value of the padding.
        level: Level of the padding, 0..255.
        out: Result, which may share the volume's memory.
    """
    source, target = volume.reshape(-1), out.reshape(-1)
    scale = 255.0 / (high - low)
    for index in range(source.size):
        grey = float(source[index])
        position = float(level) if grey <= padding else (grey - low) * scale
        target[index] = np.uint8(min(max(position, 0.0), 255.0) + 0.5)


@compiled
def byte_counts(volume: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the grey levels outside and inside a mask, int64 [2, 256]."""
    counts = np.zeros((2, 256), np.int64)
    grey, inside = volume.reshape(-1), mask.reshape(-1)
    for index in range(grey.size):
        counts[int(inside[index]), grey[index]] += 1
    return counts
