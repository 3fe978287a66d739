"""Detection of the specimen in a volume, and its grey values in eight bits.

The published recipe (arXiv 2512.00912): Otsu's threshold of the voxels above the minimum with fallbacks, the largest
component, its bounding box, a grey window at the 1st and 99th percentile. One step is added: the surface is moved to
the half maximum between background and material, the true position of a blurred edge (ISO 50, as in dimensional CT).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from components.shared.errors import BadSourceFileError
from components.shared.volumes.connected_components import keep_largest_component
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.grey_range import MIN_SPECIMEN_VOXELS, trim_grey_range
from components.shared.volumes.histograms import (
    byte_counts,
    count_surface,
    fill_bright,
    histogram,
    mark_brighter,
    masked_histogram,
    row_ends,
    to_eight_bits,
    to_eight_bits_without_padding,
)
from components.shared.volumes.mask_checks import MaskMeasures, doubts_of
from components.shared.volumes.thresholds import BINS, otsu_threshold

WINDOW_PERCENTILES = (1.0, 99.0)
DARK_QUANTILE = 0.1587
"""Share of a normal distribution that is more than a standard deviation below its mean."""
MOST_BRIGHT_OUTLIERS = 1e-3
"""Largest share of bright outliers that are left out where no other object is found."""

Corners = NDArray[np.int64]
"""The first voxel of a box and one past the last, int64 [2, 3]."""


@dataclass(frozen=True)
class Specimen:
    """A specimen in its volume.

    Attributes:
        grey: Windowed volume, uint8 [Z, Y, X].
        mask: Voxels of the specimen, bool [Z, Y, X].
        zooms_mm: Edge lengths of a voxel, float64 [3].
        outline: Points whose convex hull contains the mask, float64 [P, 3], in mm from the centre of the first voxel.
        grey_counts: Histogram of the windowed volume, int64 [256].
        background: Grey level of pixels outside the volume, 0..255.
        threshold: Grey value of the surface in the original volume.
        window: Original grey values that are mapped to 0 and 255.
        doubts: Reasons why the mask is doubtful.
    """

    grey: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    zooms_mm: NDArray[np.float64]
    outline: NDArray[np.float64]
    grey_counts: NDArray[np.int64]
    background: int
    threshold: float
    window: tuple[float, float]
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Surface:
    """The grey values at the surface of a specimen.

    Attributes:
        background: Grey value outside.
        material: Grey value inside.
        threshold: Grey value of the surface, midway between them.
        noise: Standard deviation of the grey values outside, from the darker half of them.
    """

    background: float
    material: float
    threshold: float
    noise: float


def find_specimen(volume: Volume, user_mask: NDArray[np.bool_] | None = None) -> Specimen:
    """Find the specimen and window the volume; one-byte volumes are windowed in place.

    The memory beside the volume is one byte per voxel for the mask, and another for the grey values of larger types.

    Args:
        volume: Volume as it was read.
        user_mask: Mask that replaces the segmentation and is not checked. Bright objects outside it become background.

    Raises:
        BadSourceFileError: The volume contains no specimen, or the specimen's grey values do not differ.
    """
    if user_mask is None:
        mask = np.empty(volume.grey.shape, np.bool_)
        volume = _mark_specimen(volume, mask)
        surface = grey_of_surface(volume, mask)
        voxels, second_voxels = mark_largest_object(volume, surface.threshold, mask)
        doubts = doubts_of(_measure(volume, mask, surface, second_voxels / voxels))
    else:
        mask, (volume, _), doubts = user_mask, trim_grey_range(volume), ()
        surface = grey_of_surface(volume, mask)
        fill_bright(volume.grey, mask, surface.threshold, surface.background)
    ends = row_ends(mask)
    window = grey_window(volume, bounding_box(ends))
    grey = _apply_window(volume, window, surface.background)
    counts = byte_counts(grey, mask)
    return Specimen(
        grey=grey,
        mask=mask,
        zooms_mm=volume.zooms_mm,
        outline=_outline(ends, volume.zooms_mm),
        background=_background_level(counts[0]),
        grey_counts=counts.sum(axis=0),
        threshold=surface.threshold,
        window=window,
        doubts=doubts,
    )


def _mark_specimen(volume: Volume, mask: NDArray[np.bool_]) -> Volume:
    """Write the largest object above Otsu's threshold to `mask`; return the volume with its range of grey values.

    Raises:
        BadSourceFileError: See `mark_largest_object`.
    """
    trimmed_volume, counts = trim_grey_range(volume)
    try:
        mark_largest_object(trimmed_volume, otsu_threshold(trimmed_volume, counts), mask)
    except BadSourceFileError:
        trimmed_volume, counts = trim_grey_range(volume, int(volume.grey.size * MOST_BRIGHT_OUTLIERS))
        mark_largest_object(trimmed_volume, otsu_threshold(trimmed_volume, counts), mask)
    return trimmed_volume


def grey_of_surface(volume: Volume, mask: NDArray[np.bool_]) -> Surface:
    """Return the grey value midway between background and material.

    The background is the median outside the mask. The material is the upper quartile inside it, because thin walls
    do not reach their true grey value.
    """
    counts = masked_histogram(volume.grey, mask, volume.padding, volume.darkest, volume.brightest, BINS)
    shares = zip(counts, (0.5, 0.75), strict=True)
    outside, inside = (np.searchsorted(np.cumsum(count), share * count.sum()) for count, share in shares)
    dark = np.searchsorted(np.cumsum(counts[0]), DARK_QUANTILE * counts[0].sum())
    step = (volume.brightest - volume.darkest) / BINS
    background, material = (volume.darkest + (float(index) + 0.5) * step for index in (outside, inside))
    threshold = volume.darkest + float(outside + inside + 1) / 2 * step
    return Surface(background, material, threshold, float(outside - dark) * step)


def mark_largest_object(volume: Volume, threshold: float, mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Write the mask of the largest face-connected object brighter than a threshold to `mask`, bool [Z, Y, X].

    Returns:
        The number of voxels of the object, and of the second largest one.

    Raises:
        BadSourceFileError: The object has fewer than MIN_SPECIMEN_VOXELS voxels.
    """
    mark_brighter(volume.grey, threshold, mask)
    voxels, second_voxels = keep_largest_component(mask)
    if voxels == 0:
        raise BadSourceFileError("no bright object in the volume", "a specimen", "Check the scan.")
    if voxels < MIN_SPECIMEN_VOXELS:
        raise BadSourceFileError(
            f"the largest object has {voxels} voxels", f"at least {MIN_SPECIMEN_VOXELS}", "Scan at a higher resolution."
        )
    return voxels, second_voxels


def bounding_box(ends: NDArray[np.int64]) -> Corners:
    """Return the bounding box of a mask from the ends of its rows, see `row_ends`."""
    filled_rows = ends[:, :, 1] > 0
    layers, rows = np.flatnonzero(filled_rows.any(axis=1)), np.flatnonzero(filled_rows.any(axis=0))
    first = (layers[0], rows[0], ends[filled_rows, 0].min())
    return np.array([first, (layers[-1] + 1, rows[-1] + 1, ends[:, :, 1].max())], dtype=np.int64)


def grey_window(volume: Volume, box: Corners) -> tuple[float, float]:
    """Return the grey values at the 1st and the 99th percentile inside the box.

    Raises:
        BadSourceFileError: They are equal.
    """
    counts = histogram(volume.grey, box, volume.darkest, volume.brightest, BINS)
    voxels = _scanned_voxels(volume, box)
    counts[0] += voxels - int(counts.sum())
    bins = np.searchsorted(np.cumsum(counts), np.array(WINDOW_PERCENTILES) / 100 * voxels)
    step = (volume.brightest - volume.darkest) / BINS
    low, high = (volume.darkest + float(index) * step for index in bins)
    if low >= high:
        raise BadSourceFileError(f"98 % of the specimen's box is at grey value {low:g}", "different grey values")
    return low, high


def _measure(volume: Volume, mask: NDArray[np.bool_], surface: Surface, second_share: float) -> MaskMeasures:
    """Measure a mask before the volume is windowed."""
    whole = np.array([(0, 0, 0), volume.grey.shape])
    faces = [mask[0], mask[-1], mask[:, 0], mask[:, -1], mask[:, :, 0], mask[:, :, -1]]
    beside_padding, bright = 1, 0
    if volume.padding > -math.inf:
        beside_padding, bright = count_surface(volume.grey, volume.padding, surface.threshold)
    return MaskMeasures(
        share=int(np.count_nonzero(mask)) / _scanned_voxels(volume, whole),
        face_share=max(float(face.mean()) for face in faces),
        field_share=bright / max(beside_padding, 1),
        second_share=second_share,
        contrast=(surface.threshold - surface.background) / surface.noise if surface.noise > 0 else math.inf,
    )


def _scanned_voxels(volume: Volume, box: Corners) -> int:
    """Return the number of voxels in a box without those of the padding."""
    if volume.padding == -math.inf:
        return int(np.prod(box[1] - box[0]))
    return int(histogram(volume.grey, box, volume.padding, volume.brightest, 1).sum())


def _apply_window(volume: Volume, window: tuple[float, float], background: float) -> NDArray[np.uint8]:
    """Return the volume in eight bits; its padding becomes background, so that slices do not show it."""
    grey, (low, high) = volume.grey, window
    out = grey.view(np.uint8) if grey.dtype.itemsize == 1 else np.empty(grey.shape, np.uint8)
    if volume.padding == -math.inf:
        to_eight_bits(grey, low, high, out)
    else:
        level = round(min(max((background - low) / (high - low), 0.0), 1.0) * 255)
        to_eight_bits_without_padding(grey, low, high, volume.padding, level, out)
    return out


def _background_level(counts: NDArray[np.int64]) -> int:
    """Return the median grey level outside the specimen, with which planes are filled outside the volume.

    Only the darker half of these levels is used: a specimen that fills its volume has no background, only gaps.
    """
    levels = np.flatnonzero(counts)
    if not levels.size:
        return 0
    dark = np.cumsum(counts[: levels[-1] // 2 + 1])
    return int(np.searchsorted(dark, dark[-1] / 2))


def _outline(ends: NDArray[np.int64], zooms_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of the convex hull of a mask in mm, float64 [P, 3], from the ends of its rows."""
    corners = []
    for depth in np.flatnonzero(ends[:, :, 1].any(axis=1)):
        rows = np.flatnonzero(ends[depth, :, 1])
        columns = np.concatenate([ends[depth, rows, 0], ends[depth, rows, 1] - 1])
        hull = cv2.convexHull(np.column_stack([columns, np.tile(rows, 2)]).astype(np.int32))[:, 0, :]
        corners.append(np.column_stack([np.full(len(hull), depth), hull[:, 1], hull[:, 0]]))
    points = np.concatenate(corners)
    try:
        return np.asarray(points[ConvexHull(points).vertices] * zooms_mm, dtype=np.float64)
    except QhullError:  # all points are in one plane
        return np.asarray(points * zooms_mm, dtype=np.float64)
