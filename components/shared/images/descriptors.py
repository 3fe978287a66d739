"""Descriptors of a slice: the features in which the monitor detects drift.

The segment step computes them for the data set, from which the reference profile takes them; the transformer computes
them for each classified slice.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.images.decoding import Pixels
from components.shared.images.segmentation import Bits

Counts = NDArray[np.int64]
"""A histogram of 256 grey levels without black pixels."""


class Feature(NamedTuple):
    """A feature in which drift is detected.

    Attributes:
        group: Name of the panel; features that usually drift for one reason (`monitoring.drift.features.REASONS`) share
            a panel.
        meaning: Definition of the feature.
    """

    group: str
    meaning: str


GREY_FEATURES = {
    "foreground_ratio": Feature("Shape", "share of the slice that the specimen covers"),
    "intensity_mean": Feature("Grey levels", "mean grey value of the specimen"),
    "intensity_contrast": Feature("Grey levels", "standard deviation of the grey values of the specimen"),
    "intensity_p05": Feature("Grey levels", "5th percentile of the grey values of the specimen"),
    "intensity_p95": Feature("Grey levels", "95th percentile of the grey values of the specimen"),
    "sharpness": Feature("Sharpness and noise", "standard deviation of the Laplacian"),
    "noise_level": Feature("Sharpness and noise", "estimated standard deviation of the noise"),
    "entropy": Feature("Grey levels", "entropy of the grey histogram in bits"),
    "box_aspect": Feature("Shape", "ratio of the short to the long side of the specimen's bounding box"),
    "texture": Feature("Sharpness and noise", "mean magnitude of the gradient"),
}
COLOUR_FEATURES = {
    "saturation": Feature("Colour", "mean saturation"),
    "saturation_contrast": Feature("Colour", "standard deviation of the saturation"),
    "red_over_green": Feature("Colour", "mean of red minus green"),
    "yellow_over_blue": Feature("Colour", "mean of yellow minus blue"),
    "colourfulness": Feature("Colour", "spread and strength of the colours (Hasler and Suesstrunk 2003)"),
}

DESCRIPTORS = tuple(GREY_FEATURES)
COLOUR_DESCRIPTORS = tuple(COLOUR_FEATURES)
"""Additional descriptors of a slice in colour."""

_LEVELS = 256
_NEIGHBOURS = np.ones((3, 3), np.uint8)
_LAPLACIAN_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def describe(image: Pixels) -> dict[str, float]:
    """Return the descriptors of a segmented slice or a photograph.

    Grey values are those of the specimen, where pixels are above zero; all descriptors of a black image are zero.

    Args:
        image: Pixels, uint8 [H, W] or [H, W, 3].

    Returns:
        A finite number for each name of `descriptor_names`.
    """
    values = _describe_grey(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    return values if image.ndim == 2 else {**values, **_describe_colour(image)}


def descriptor_names(channels: int) -> tuple[str, ...]:
    """Return the names of the descriptors of slices with this number of channels."""
    return DESCRIPTORS if channels == 1 else (*DESCRIPTORS, *COLOUR_DESCRIPTORS)


def _describe_grey(grey: Pixels) -> dict[str, float]:
    foreground = (grey > 0).view(np.uint8)
    counts = cv2.calcHist([grey], [0], None, [_LEVELS], [0, _LEVELS]).ravel().astype(np.int64)
    counts[0] = 0
    if not counts.any():
        return dict.fromkeys(DESCRIPTORS, 0.0)
    inside = cv2.erode(foreground, _NEIGHBOURS)
    mean, contrast = _histogram_mean_and_deviation(counts)
    values = (
        counts.sum() / grey.size,
        mean,
        contrast,
        _percentile(counts, 0.05),
        _percentile(counts, 0.95),
        _laplacian_deviation(grey, inside),
        _noise_level(grey, inside),
        _entropy(counts),
        _box_aspect(foreground),
        _mean_gradient(grey, inside),
    )
    return {name: float(value) for name, value in zip(DESCRIPTORS, values, strict=True)}


def _describe_colour(image: Pixels) -> dict[str, float]:
    """Return saturation, opponent colours and colourfulness (Hasler and Suesstrunk 2003) of the pixels above zero."""
    planes = cv2.split(image)
    foreground = (planes[0] | planes[1] | planes[2] > 0).view(np.uint8)  # a tenth of the time of max(axis=2)
    if not foreground.any():
        return dict.fromkeys(COLOUR_DESCRIPTORS, 0.0)
    saturation = _masked_mean_and_deviation(cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1], foreground)
    red, green, blue = (plane.astype(np.int16) for plane in planes)
    red_green = _masked_mean_and_deviation(red - green, foreground)
    yellow_blue = _masked_mean_and_deviation((red + green) // 2 - blue, foreground)
    colourfulness = math.hypot(red_green[1], yellow_blue[1]) + 0.3 * math.hypot(red_green[0], yellow_blue[0])
    values = (*saturation, red_green[0], yellow_blue[0], colourfulness)
    return {name: float(value) for name, value in zip(COLOUR_DESCRIPTORS, values, strict=True)}


def _masked_mean_and_deviation(values: NDArray[np.generic], mask: Bits) -> tuple[float, float]:
    mean, deviation = cv2.meanStdDev(values, mask=mask)
    return float(mean[0, 0]), float(deviation[0, 0])


def _histogram_mean_and_deviation(counts: Counts) -> tuple[float, float]:
    levels = np.arange(_LEVELS)
    mean = float(counts @ levels) / float(counts.sum())
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _percentile(counts: Counts, share: float) -> float:
    """Return the grey value below which a share of the pixels is, with linear interpolation."""
    position = share * (int(counts.sum()) - 1)
    below = int(position)
    low, high = np.searchsorted(np.cumsum(counts), (below, math.ceil(position)), side="right")
    return float(low + (high - low) * (position - below))


def _entropy(counts: Counts) -> float:
    """Return the Shannon entropy of the grey histogram in bits."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _laplacian_deviation(grey: Pixels, inside: Bits) -> float:
    return float(cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S), mask=inside)[1][0, 0])


def _noise_level(grey: Pixels, inside: Bits) -> float:
    """Estimate the standard deviation of noise (Immerkaer 1996, fast noise variance estimation)."""
    response = cv2.filter2D(grey, cv2.CV_16S, _LAPLACIAN_DIFFERENCE)
    return cv2.norm(response, cv2.NORM_L1, mask=inside) / max(1, cv2.countNonZero(inside)) * math.sqrt(math.pi / 2) / 6


def _box_aspect(foreground: Bits) -> float:
    """Return the short side over the long side of the bounding box, 0..1."""
    _, _, width, height = cv2.boundingRect(foreground)
    return min(height, width) / max(height, width)


def _mean_gradient(grey: Pixels, inside: Bits) -> float:
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    # not cv2.magnitude, whose last digit depends on the memory address of the image; these squares are exact
    return float(cv2.mean(np.sqrt(across * across + down * down), mask=inside)[0])
