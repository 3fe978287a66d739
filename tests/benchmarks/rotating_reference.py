"""A minimal version of the published script: rotate, label and slice the volume for each orientation.

The published script (arXiv 2512.00912) rotates the whole volume 24 times and labels it each time. This one does only
that: grey values in single precision, linear interpolation, one threshold, one labelling by scipy for each orientation;
only the requested slices are scaled and encoded. It has no descriptors, no index and no records.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

EDGE = 224
SMALLEST_COVERAGE = 0.02
ORIENTATIONS = [(axes, angle) for axes in ((0, 1), (0, 2), (1, 2)) for angle in range(20, 161, 20)]

Grey = NDArray[np.float32]


@dataclass(frozen=True)
class RotatingJob:
    """A volume, a folder for its slices, their number, and the number of measured orientations of 24."""

    file: Path
    folder: Path
    quota: int
    orientations: int = len(ORIENTATIONS)


def cut_by_rotating(job: RotatingJob) -> float:
    """Cut a volume and return the seconds of all 24 orientations, extrapolated from the measured ones."""
    start = time.perf_counter()
    grey, threshold = _apply_grey_window(np.asanyarray(nib.load(job.file).dataobj))
    job.folder.mkdir(parents=True)
    quota = -(-job.quota // (len(ORIENTATIONS) + 3))
    specimen = _largest_component(grey > threshold)
    for axis in range(3):
        _write_slices(np.moveaxis(grey, axis, 0), np.moveaxis(specimen, axis, 0), quota, job.folder / f"axis-{axis}")
    rotation_start = time.perf_counter()
    for number in np.linspace(0, len(ORIENTATIONS) - 1, job.orientations).astype(int):
        axes, angle = ORIENTATIONS[number]
        rotation = ndimage.rotate(grey, angle, axes, order=1)
        _write_slices(rotation, _largest_component(rotation > threshold), quota, job.folder / f"rotation-{number}")
    end = time.perf_counter()
    return (rotation_start - start) + (end - rotation_start) * len(ORIENTATIONS) / job.orientations


def _apply_grey_window(volume: NDArray[np.uint8]) -> tuple[Grey, float]:
    threshold = threshold_otsu(volume[volume > volume.min()])
    low, high = np.percentile(volume[_largest_component(volume > threshold)], (1, 99))
    levels = ((np.arange(256) - low) / (high - low)).clip(0, 1).astype(np.float32)
    return levels[volume], float((threshold - low) / (high - low))


def _largest_component(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels, _ = ndimage.label(bright)
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    return labels == sizes.argmax()


def _write_slices(grey: Grey, specimen: NDArray[np.bool_], quota: int, prefix: Path) -> None:
    usable = np.flatnonzero(specimen.mean(axis=(1, 2)) >= SMALLEST_COVERAGE)
    for place in usable[np.linspace(0, len(usable) - 1, quota).astype(int)] if len(usable) else ():
        image = cv2.resize((255 * grey[place]).round().astype(np.uint8), (EDGE, EDGE))
        cv2.imwrite(f"{prefix}-{place}.png", image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
