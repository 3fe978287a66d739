"""Where the specimen is in a volume, and its grey values in eight bits.

The published recipe (arXiv 2512.00912): Otsu's threshold of the voxels above the minimum with fallbacks, the largest
component, its bounding box, a grey window at the 1st and 99th percentile. One step is added: the surface is moved to
the half maximum between background and material, where a blurred edge truly lies (ISO 50, as in dimensional CT).
"""

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import cv2
import numpy as np
from numpy.typing import NDArray

from components.ingest.grey import byte_counts, histogram, masked_histogram, to_eight_bits
from components.ingest.volume import Volume
from components.shared.errors import BadVolumeError

BINS = 2**14
FALLBACK_THRESHOLD, HIGHEST_THRESHOLD = 0.4, 0.8
WINDOW_PERCENTILES = (1.0, 99.0)
FEWEST_SPECIMEN_VOXELS = 64
LABELLED_EDGE = 320
"""Larger volumes are labelled at a fraction of their resolution: labels take four bytes a voxel."""

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Specimen:
    """A specimen in its volume.

    Attributes:
        grey: uint8 [Z, Y, X], the windowed volume.
        mask: bool [Z, Y, X].
        zooms_mm: edge lengths of a voxel, float64 [3].
        outline: float64 [P, 3], points in mm from the first voxel's centre whose hull holds the mask.
        grey_counts: int64 [256], the windowed volume's histogram.
        background: grey level outside the volume, 0..255.
        threshold: in the volume's own grey values.
        window: grey values that became 0 and 255.
    """

    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    zooms_mm: NDArray[np.float64]
    outline: NDArray[np.float64]
    grey_counts: NDArray[np.int64]
    background: int
    threshold: float
    window: tuple[float, float]


def find_specimen(volume: Volume) -> Specimen:
    """Finds the specimen and windows the volume; one-byte volumes are windowed in their own memory.

    Raises:
        BadVolumeError: nothing in it is a specimen, or its grey values do not differ.
    """
    rough = largest_component(volume.grey > specimen_threshold(volume))
    threshold = half_maximum(volume, rough)
    mask = largest_component(volume.grey > threshold)
    box = bounding_box(mask)
    window = grey_window(volume, box)
    grey = _windowed(volume.grey, window)
    counts = byte_counts(grey, mask)
    return Specimen(
        grey=grey,
        mask=mask,
        zooms_mm=volume.zooms_mm,
        outline=_outline(mask, volume.zooms_mm),
        background=_background_level(counts[0]),
        grey_counts=counts.sum(axis=0),
        threshold=threshold,
        window=window,
    )


def specimen_threshold(volume: Volume) -> float:
    """Otsu's threshold of the voxels above the minimum.

    Where it lies above 0.8 of the range, 0.4 of the range is taken. The published script takes both of the maximum,
    which is the same for volumes that begin at zero; of the range they do not move with an offset of the grey values.

    Returns:
        A grey value; the specimen is brighter.
    """
    counts = histogram(volume.grey, volume.darkest, volume.brightest, BINS)
    share = otsu_bin(counts) / BINS
    if not 0 < share <= HIGHEST_THRESHOLD:
        share = FALLBACK_THRESHOLD
    return volume.darkest + share * (volume.brightest - volume.darkest)


def half_maximum(volume: Volume, mask: NDArray[np.bool_]) -> float:
    """Returns the grey value midway between the background and the material.

    The background is the median outside the mask; the material is the upper quartile inside it, because thin walls
    never reach their true grey value.
    """
    counts = masked_histogram(volume.grey, mask, volume.darkest, volume.brightest, BINS)
    outside, inside = (
        np.searchsorted(np.cumsum(count), share * count.sum()) for count, share in zip(counts, (0.5, 0.75), strict=True)
    )
    return volume.darkest + float(outside + inside + 1) / 2 / BINS * (volume.brightest - volume.darkest)


def otsu_bin(counts: NDArray[np.int64]) -> int:
    """Returns the first bin of the brighter class by Otsu's criterion, or 0 where there are no two classes."""
    weight = counts.astype(np.float64)
    below = np.cumsum(weight)
    above = below[-1] - below
    moment = np.cumsum(weight * np.arange(len(counts)))
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = (moment[-1] * below / below[-1] - moment) ** 2 / (below * above)
    variance[~np.isfinite(variance)] = -1.0
    best = np.flatnonzero(variance == variance.max())
    return 0 if variance.max() <= 0 else int(best[0] + best[-1]) // 2 + 1


def largest_component(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Keeps the largest face-connected component of bool [Z, Y, X], in place.

    Raises:
        BadVolumeError: it has fewer than FEWEST_SPECIMEN_VOXELS voxels.
    """
    factor = math.ceil(max(bright.shape) / LABELLED_EDGE)
    labels = cc3d.connected_components(_any_in_blocks(bright, factor), connectivity=6, binary_image=True)
    sizes = cc3d.statistics(labels, no_slice_conversion=True)["voxel_counts"]
    if len(sizes) < 2:
        raise BadVolumeError("no bright object in the volume", "a specimen")
    largest = labels == 1 + int(np.argmax(sizes[1:]))
    for axis in range(3) if factor > 1 else ():
        largest = np.repeat(largest, factor, axis=axis)
    depth, height, width = bright.shape
    bright &= largest[:depth, :height, :width]
    voxels = int(np.count_nonzero(bright))
    if voxels < FEWEST_SPECIMEN_VOXELS:
        raise BadVolumeError(
            f"the largest object has {voxels} voxels", f"a specimen of {FEWEST_SPECIMEN_VOXELS} or more"
        )
    return bright


def _any_in_blocks(bright: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    for axis in range(3) if factor > 1 else ():
        bright = np.logical_or.reduceat(bright, np.arange(0, bright.shape[axis], factor), axis=axis)
    return bright


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Returns the slices that hold every True of bool [Z, Y, X]."""
    layers, seen_from_top = mask.any(axis=(1, 2)), np.asarray(mask.any(axis=0))
    along = (layers, seen_from_top.any(axis=1), seen_from_top.any(axis=0))
    ends = [np.flatnonzero(occupied)[[0, -1]] for occupied in along]
    depth, height, width = (slice(int(first), int(last) + 1) for first, last in ends)
    return depth, height, width


def grey_window(volume: Volume, box: Box) -> tuple[float, float]:
    """Returns the grey values at the 1st and the 99th percentile inside the box.

    Raises:
        BadVolumeError: they are the same.
    """
    counts = histogram(volume.grey[box], volume.darkest, volume.brightest, BINS)
    voxels = math.prod(side.stop - side.start for side in box)
    counts[0] += voxels - int(counts.sum())
    places = np.searchsorted(np.cumsum(counts), np.array(WINDOW_PERCENTILES) / 100 * voxels)
    step = (volume.brightest - volume.darkest) / BINS
    low, high = (volume.darkest + float(place) * step for place in places)
    if low >= high:
        raise BadVolumeError(f"98 % of the specimen's box is at grey value {low:g}", "grey values that differ")
    return low, high


def _windowed(grey: NDArray[Any], window: tuple[float, float]) -> NDArray[np.uint8]:
    out = grey.view(np.uint8) if grey.dtype.itemsize == 1 else np.empty(grey.shape, np.uint8)
    to_eight_bits(grey, *window, out)
    return out


def _background_level(around: NDArray[np.int64]) -> int:
    """Returns the median grey level around the specimen, so that the end of the volume does not look like an edge.

    Only the darker half of the levels around it counts: a specimen that fills its volume has no background, only gaps.
    """
    occupied = np.flatnonzero(around)
    if not occupied.size:
        return 0
    dark = np.cumsum(around[: occupied[-1] // 2 + 1])
    return int(np.searchsorted(dark, dark[-1] / 2))


def _outline(mask: NDArray[np.bool_], zooms_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the corners of each layer's convex hull in mm, float64 [P, 3]."""
    first, last = mask.argmax(axis=2), mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)
    occupied: NDArray[np.bool_] = np.asarray(mask.any(axis=2))
    corners = []
    for depth in np.flatnonzero(occupied.any(axis=1)):
        rows = np.flatnonzero(occupied[depth])
        ends = np.column_stack([np.concatenate([first[depth, rows], last[depth, rows]]), np.tile(rows, 2)])
        hull = cv2.convexHull(ends.astype(np.int32))[:, 0, :]
        corners.append(np.column_stack([np.full(len(hull), depth), hull[:, 1], hull[:, 0]]))
    return np.asarray(np.concatenate(corners) * zooms_mm, dtype=np.float64)
