"""Numbers that describe a slice: what drift is watched on.

`evaluate` computes them for the reference profile, the transformer for each answered slice.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from components.shared.imaging import Pixels

DESCRIPTORS = (
    "foreground_ratio",
    "intensity_mean",
    "intensity_contrast",
    "intensity_p05",
    "intensity_p95",
    "sharpness",
    "noise_level",
    "entropy",
    "box_aspect",
    "texture",
)

_LAPLACIAN_DIFFERENCE = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)


def describe(image: Pixels) -> dict[str, float]:
    """Describes a segmented slice or a photograph.

    Grey values are taken inside the specimen, where pixels are above zero; a black image gives zeros.

    Args:
        image: uint8 [H, W] or [H, W, 3].

    Returns:
        A finite number for each name of `DESCRIPTORS`.
    """
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    foreground = grey > 0
    if not foreground.any():
        return dict.fromkeys(DESCRIPTORS, 0.0)
    values = grey[foreground]
    low, high = np.percentile(values, (5, 95))
    inside = cv2.erode(foreground.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    measured = (
        foreground.mean(),
        values.mean(),
        values.std(),
        low,
        high,
        _laplacian_energy(grey, inside),
        _noise_level(grey, inside),
        _entropy(values),
        _box_aspect(foreground),
        _gradient_energy(grey, inside),
    )
    return {name: float(value) for name, value in zip(DESCRIPTORS, measured, strict=True)}


def _laplacian_energy(grey: Pixels, inside: NDArray[np.bool_]) -> float:
    response = cv2.Laplacian(grey, cv2.CV_32F)[inside]
    return float(response.std()) if response.size else 0.0


def _noise_level(grey: Pixels, inside: NDArray[np.bool_]) -> float:
    """Estimates the standard deviation of noise (Immerkaer 1996, fast noise variance estimation)."""
    response = cv2.filter2D(grey.astype(np.float32), -1, _LAPLACIAN_DIFFERENCE)[inside]
    return float(np.abs(response).mean() * np.sqrt(np.pi / 2) / 6) if response.size else 0.0


def _entropy(values: NDArray[np.uint8]) -> float:
    """Shannon entropy of the grey histogram in bits."""
    share = np.bincount(values, minlength=256) / values.size
    share = share[share > 0]
    return float(-(share * np.log2(share)).sum())


def _box_aspect(foreground: NDArray[np.bool_]) -> float:
    """Short over long side of the bounding box, 0..1."""
    rows, columns = np.flatnonzero(foreground.any(axis=1)), np.flatnonzero(foreground.any(axis=0))
    height, width = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    return min(height, width) / max(height, width)


def _gradient_energy(grey: Pixels, inside: NDArray[np.bool_]) -> float:
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    magnitude = np.hypot(across, down)[inside]
    return float(magnitude.mean()) if magnitude.size else 0.0
