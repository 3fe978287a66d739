"""Otsu's threshold of a volume, with the fallback of the published rule."""

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.formats.base import Volume

BINS = 2**14
FALLBACK_THRESHOLD, MAX_THRESHOLD = 0.4, 0.8


def otsu_threshold(volume: Volume, counts: NDArray[np.int64]) -> float:
    """Return Otsu's threshold of the voxels above the minimum; the specimen is brighter.

    A threshold above 0.8 of the range is replaced by 0.4 of the range. The published script uses these shares of the
    maximum, which is the same for volumes that begin at zero; shares of the range are independent of an offset.

    Args:
        volume: Volume with its range of grey values.
        counts: Histogram of the voxels above the minimum in equal bins of the range, int64 [bins].
    """
    share = otsu_bin(counts) / len(counts)
    if not 0 < share <= MAX_THRESHOLD:
        share = FALLBACK_THRESHOLD
    return volume.darkest + share * (volume.brightest - volume.darkest)


def otsu_bin(counts: NDArray[np.int64]) -> int:
    """Return the first bin of the brighter class by Otsu's criterion, or 0 if there are no two classes."""
    variance = _variance_between_classes(counts)
    best = np.flatnonzero(variance == variance.max())
    return 0 if variance.max() <= 0 else int(best[0] + best[-1]) // 2 + 1


def class_separation(counts: NDArray[np.int64]) -> float:
    """Return the share of the variance that is between the two classes of Otsu's threshold, 0..1."""
    bins, voxels = np.arange(len(counts)), max(int(counts.sum()), 1)
    mean = (counts * bins).sum() / voxels
    variance = float((counts * (bins - mean) ** 2).sum() / voxels)
    between = float(_variance_between_classes(counts).max())
    return between / variance if variance > 0 and between > 0 else 0.0


def _variance_between_classes(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the variance between the classes up to each bin and above it, in bins squared."""
    weight = counts.astype(np.float64)
    below = np.cumsum(weight)
    above = below[-1] - below
    moment = np.cumsum(weight * np.arange(len(counts)))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (moment[-1] * below / below[-1] - moment) ** 2 / (below * above)
    variance[~np.isfinite(variance)] = -1.0
    return variance
