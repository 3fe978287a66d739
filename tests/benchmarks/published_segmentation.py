"""The published segmentation of a slice (arXiv 2512.00912) with scikit-image, and slices whose true mask is known."""

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
from components.shared.volumes.nifti import Volume
from components.shared.volumes.planes import CUTS, frame_of
from components.shared.volumes.sampling import mask_coverage, sample_plane
from components.shared.volumes.specimen import find_specimen

EDGE = 224
SMALLEST_COVERAGE = 0.02


@dataclass(frozen=True)
class KnownSlice:
    """A slice, uint8 [224, 224], and where the specimen's material truly is, bool [224, 224]."""

    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]


def published_mask(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Finds the specimen as published: 3x3 Gaussian blur, Otsu's threshold, then `published_shape`."""
    blurred = cv2.GaussianBlur(image, (3, 3), 0)
    return published_shape(blurred > threshold_otsu(blurred))


def published_shape(bright: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Takes objects of < 200 px out, fills holes of < 100 px, closes with a disk of 2, keeps the largest object."""
    objects = remove_small_objects(bright, max_size=199)
    labels = label(closing(remove_small_holes(objects, max_size=99), disk(2)))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == sizes.argmax()


def known_slices(species: str, number: int, size: int, slices: int) -> Iterator[KnownSlice]:
    """Yields slices of the published schedule through a phantom with CT artefacts of default strength.

    Args:
        species: one of the twelve forms.
        number: of the specimen.
        size: edge of the scanned cube, voxels.
        slices: how many.
    """
    made = make_specimen(species, number, size, 0, Artefacts())
    grey, truth = np.ascontiguousarray(made.volume.T), np.ascontiguousarray(made.mask.T)
    volume = Volume(grey, np.array(made.zooms[::-1]), float(grey.min()), float(grey.max()), "")
    specimen = find_specimen(volume)
    frames = (frame_of(cut, specimen, EDGE) for cut in CUTS["published"](specimen, np.random.default_rng(number)))
    places = ((frame.corner, frame.down, frame.across, EDGE) for frame in frames)
    for place in islice((place for place in places if mask_coverage(truth, *place) >= SMALLEST_COVERAGE), slices):
        plane = sample_plane(specimen.grey, *place, float(specimen.background))
        yield KnownSlice(np.rint(plane).astype(np.uint8), sample_plane(truth.view(np.uint8), *place, 0.0) >= 0.5)


def overlap(found: NDArray[np.bool_], expected: NDArray[np.bool_]) -> float:
    """Returns intersection over union, 0..1."""
    return float((found & expected).sum() / max(1, (found | expected).sum()))
