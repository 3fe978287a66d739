"""The range of grey values without outliers and padding, which move a threshold that is a share of the range.

Outliers (zingers, dead pixels, streaks) are few voxels beyond a gap in the histogram. Padding is one grey value, or a
few, below a gap: scanners write it outside a round field of view (-32768, -8192, -1024, the lowest number of the type,
NaN). A masked background looks alike, but its surface is the specimen's: most of the voxels beside it are bright.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.shared.volumes.formats.base import Volume
from components.shared.volumes.formats.voxels import MIN_GREY_RANGE
from components.shared.volumes.histograms import brightest_below, count_surface, darkest_above, histogram
from components.shared.volumes.thresholds import BINS, class_separation, otsu_threshold

MIN_SPECIMEN_VOXELS = 64
SMALLEST_GAP = 0.25
"""Smallest gap as a share of the range of the other voxels. Across a smaller one, the published rule finds the
specimen: the threshold, at most the middle of padding and specimen, is brighter than the specimen's surroundings."""
SMALLEST_INTEGER_GAP = 8
"""Smallest gap of whole numbers: of few grey values, each is far from the next."""
BRIGHT_OUTLIERS = MIN_SPECIMEN_VOXELS - 1
"""Most bright voxels that are left out: fewer than the smallest specimen."""
DARK_OUTLIERS, DARK_OUTLIER_SHARE = 64, 1e-3
PADDING_VALUES = 3
MASKED_SURFACE = 0.2
"""Share of bright voxels beside a masked background. It is above 0.2 for phantoms, and near 0 for a field of view."""
TWO_CLASSES = 0.8
"""Share of the variance between two classes; 0.64 for one normal distribution, 0.75 for a uniform one."""
WIDEST_MASKED_GAP = 16.0
"""Widest gap below a masked specimen that is part of the range, as a multiple of the specimen's range. Of a wider range
fewer than 16 of 256 grey levels would be the specimen's."""
_MOST_ROUNDS = 32


@dataclass(frozen=True)
class _Limits:
    """The number of voxels that may be left out at each end, and the number of grey values of the padding."""

    bright: int
    dark: int
    padding_values: int


def trim_grey_range(volume: Volume, bright_outliers: int = BRIGHT_OUTLIERS) -> tuple[Volume, NDArray[np.int64]]:
    """Return the volume with the range and the padding of its usual voxels, and the histogram of those voxels.

    Without outliers and padding this is one pass over the volume. The histogram has the voxels above the darkest.

    Args:
        volume: Volume as it was read.
        bright_outliers: Most bright voxels that are left out.
    """
    dark_outliers = max(DARK_OUTLIERS, int(volume.grey.size * DARK_OUTLIER_SHARE))
    limits = _Limits(bright_outliers, dark_outliers, PADDING_VALUES)
    trimmed_volume, counts = _trim(volume, limits)
    if trimmed_volume.padding == -math.inf or not _is_masked(volume, trimmed_volume, counts):
        return trimmed_volume, counts
    return _trim_masked(volume, trimmed_volume, replace(limits, padding_values=0))


def _trim_masked(volume: Volume, trimmed_volume: Volume, limits: _Limits) -> tuple[Volume, NDArray[np.int64]]:
    """Return a volume with a masked background: its grey value is in the range, or near the range if it is far off."""
    width = trimmed_volume.brightest - trimmed_volume.darkest
    if trimmed_volume.darkest - volume.darkest <= WIDEST_MASKED_GAP * width:
        return _trim(replace(volume, padding=-math.inf), limits)
    near_volume = replace(trimmed_volume, darkest=trimmed_volume.darkest - width, padding=-math.inf)
    return near_volume, _count(near_volume)


def _trim(volume: Volume, limits: _Limits) -> tuple[Volume, NDArray[np.int64]]:
    """Leave out outliers and padding until there is no gap at either end."""
    counts, darker, brighter = _count(volume), 0, 0
    for _ in range(_MOST_ROUNDS):
        clusters = _Clusters.of(counts, volume.grey.size - darker - brighter)
        for below, above in clusters.ends(limits, _smallest_gap(volume), brighter):
            smaller_volume = _without_end(volume, clusters, below, above)
            if smaller_volume.brightest - smaller_volume.darkest >= MIN_GREY_RANGE:
                break
        else:  # no gap, or only one grey value would remain
            return volume, counts
        darker += int(clusters.voxels[:below].sum())
        brighter += int(clusters.voxels[above:].sum())
        volume, counts = smaller_volume, _count(smaller_volume)
        counts[-1] -= brighter
    return volume, counts


def _without_end(volume: Volume, clusters: "_Clusters", below: int, above: int) -> Volume:
    """Return the volume with the range of the bins from `below` up to `above`; one of them is that of the volume."""
    step = (volume.brightest - volume.darkest) / BINS
    if below == 0:
        cut = volume.darkest + clusters.middle_of_gap(above) * step
        return replace(volume, brightest=brightest_below(volume.grey, cut))
    cut = volume.darkest + clusters.middle_of_gap(below) * step
    return replace(volume, darkest=darkest_above(volume.grey, cut), padding=cut)


@dataclass(frozen=True)
class _Clusters:
    """The occupied bins of a histogram; the first is that of the darkest grey value alone.

    Attributes:
        low: Lower edges in bins, int64 [N].
        high: Upper edges in bins, int64 [N].
        voxels: Number of voxels, int64 [N].
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    voxels: NDArray[np.int64]

    @classmethod
    def of(cls, counts: NDArray[np.int64], voxels: int) -> "_Clusters":
        """Return the occupied bins of the histogram of a number of voxels, of which the darkest are not counted."""
        bins = np.flatnonzero(counts)
        darkest = voxels - int(counts.sum())
        low, high = np.concatenate([[0], bins]), np.concatenate([[0], bins + 1])
        return cls(low, high, np.concatenate([[darkest], counts[bins]]))

    def ends(self, limits: _Limits, smallest_gap: float, brighter: int) -> Iterator[tuple[int, int]]:
        """Yield the bins (first, end) without the outliers or the padding at one end, the widest gap first.

        Args:
            limits: Number of voxels that may be left out.
            smallest_gap: Smallest gap in bins.
            brighter: Number of bright voxels that are left out already.
        """
        gaps, last = self.low[1:] - self.high[:-1], len(self.voxels)
        above = self.voxels[::-1].cumsum()[::-1][1:]
        is_end = (gaps >= SMALLEST_GAP * np.maximum(self.high[:-1], 1)) & (above <= limits.bright - brighter)
        yield from ((0, int(index) + 1) for index in np.flatnonzero(is_end & (gaps >= smallest_gap)))
        wide = np.flatnonzero(gaps >= np.maximum(SMALLEST_GAP * (self.high[-1] - self.low[1:]), smallest_gap))
        for index in wide[np.argsort(-gaps[wide], kind="stable")]:
            voxels = np.sort(self.voxels[: index + 1])
            others = voxels[: max(len(voxels) - limits.padding_values, 0)]
            if int(others.sum()) <= limits.dark:
                yield int(index) + 1, last

    def middle_of_gap(self, index: int) -> float:
        """Return the middle of the gap below a bin, in bins."""
        return float(self.high[index - 1] + self.low[index]) / 2


def _count(volume: Volume) -> NDArray[np.int64]:
    whole = np.array([(0, 0, 0), volume.grey.shape])
    return histogram(volume.grey, whole, volume.darkest, volume.brightest, BINS)


def _smallest_gap(volume: Volume) -> float:
    """Return the smallest gap in bins that does not depend on the other voxels."""
    width = volume.brightest - volume.darkest
    return SMALLEST_INTEGER_GAP / width * BINS if volume.grey.dtype.kind in "iu" else 0.0


def _is_masked(volume: Volume, trimmed_volume: Volume, counts: NDArray[np.int64]) -> bool:
    """Return whether the padding is a masked background, so that the surface beside it is that of the specimen.

    A specimen that fills a round field of view has such a surface, too: its padding is far darker than any voxel, and
    the voxels themselves are of two classes.
    """
    surface, bright = count_surface(trimmed_volume.grey, trimmed_volume.padding, otsu_threshold(trimmed_volume, counts))
    if bright < MASKED_SURFACE * surface or surface == 0:
        return False
    is_far = trimmed_volume.darkest - volume.darkest >= trimmed_volume.brightest - trimmed_volume.darkest
    return not (is_far and class_separation(counts) >= TWO_CLASSES)
