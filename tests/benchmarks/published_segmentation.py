"""The published segmentation of a slice (arXiv 2512.00912) with scikit-image, and slices with known masks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import closing, disk, remove_small_holes, remove_small_objects

from components.phantoms.scanner import Artefacts
from components.phantoms.specimen import make_specimen
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.plane_sampling import mask_coverage, sample_plane
from components.shared.volumes.plane_schedules import CUTS, frame_of
from components.shared.volumes.specimen import find_specimen

EDGE = 224
SMALLEST_COVERAGE = 0.02


@dataclass(frozen=True)
class KnownSlice:
    """A slice, uint8 [224, 224], and the true mask of the specimen's material, bool [224, 224]."""

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]


def published_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the published mask: 3x3 Gaussian blur, Otsu's threshold, then `published_shape`."""
    smooth = cv2.GaussianBlur(image, (3, 3), 0)
    return published_shape(smooth > threshold_otsu(smooth))


def published_shape(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Remove objects of < 200 px, fill holes of < 100 px, close with a disk of 2, keep the largest object."""
    objects = remove_small_objects(bright, max_size=199)
    labels = label(closing(remove_small_holes(objects, max_size=99), disk(2)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def known_slices(species: str, number: int, size: int, slices: int) -> Iterator[KnownSlice]:
    """Yield slices of the published schedule through a phantom with CT artefacts of default strength.

    Args:
        species: One of the twelve forms.
        number: Index of the specimen.
        size: Edge of the scanned cube in voxels.
        slices: Number of slices.
    """
    specimen_scan = make_specimen(species, number, size, 0, Artefacts())
    grey, truth = np.ascontiguousarray(specimen_scan.volume.T), np.ascontiguousarray(specimen_scan.mask.T)
    volume = Volume(grey, np.array(specimen_scan.zooms[::-1]), float(grey.min()), float(grey.max()), "")
    specimen = find_specimen(volume)
    frames = (frame_of(cut, specimen, EDGE) for cut in CUTS["published"](specimen, np.random.default_rng(number)))
    places = ((frame.corner, frame.down, frame.across, EDGE) for frame in frames)
    for place in islice((place for place in places if mask_coverage(truth, *place) >= SMALLEST_COVERAGE), slices):
        plane = sample_plane(specimen.grey, *place, float(specimen.background))
        yield KnownSlice(np.rint(plane).astype(np.uint8), sample_plane(truth.view(np.uint8), *place, 0.0) >= 0.5)


def overlap(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union, 0..1."""
    return float((mask & other).sum() / max(1, (mask | other).sum()))
