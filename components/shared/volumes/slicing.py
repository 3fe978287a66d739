"""Slices of a specimen: planes that the specimen covers sufficiently, as PNG."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.shared.images.decoding import Pixels, encode_png
from components.shared.volumes.plane_sampling import Vector, mask_coverage, sample_plane
from components.shared.volumes.plane_schedules import CUTS, Frame, Schedule, frame_of, max_attempts
from components.shared.volumes.specimen import Specimen

SMALLEST_COVERAGE = 0.02


def planes_rng(path: str, seed: int) -> np.random.Generator:
    """Return the random generator of a volume's planes; seeded by its path, it does not depend on other volumes."""
    digest = hashlib.sha256(f"{seed}\0{path}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def cut_slices(
    specimen: Specimen, schedule: Schedule, quota: int, image_size: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Cut a specimen into slices.

    Args:
        specimen: Specimen in its volume.
        schedule: Schedule of the planes.
        quota: Largest number of slices.
        image_size: Edge of the slices in pixels.
        rng: Random generator of the planes, see `planes_rng`.

    Yields:
        The row of each slice: its `plane` (a description), `foreground_ratio`, `spacing_mm` and `png`.
    """
    attempts = slices = 0
    cuts = CUTS[schedule](specimen, rng)
    while slices < quota and attempts < max_attempts(schedule, quota):
        cut = next(cuts, None)
        if cut is None:
            return
        attempts += 1
        frame = frame_of(cut, specimen, image_size)
        coverage = mask_coverage(specimen.mask, *_half_resolution(frame, image_size))
        if coverage >= SMALLEST_COVERAGE:
            slices += 1
            pixels = (frame.corner, frame.down, frame.across, image_size)
            plane = sample_plane(specimen.grey, *pixels, float(specimen.background))
            yield _row(np.rint(plane).astype(np.uint8), cut.description, coverage, frame.spacing_mm)


def _half_resolution(frame: Frame, edge: int) -> tuple[Vector, Vector, Vector, int]:
    """Return a frame with half as many rows and columns, which is enough to measure coverage."""
    return frame.corner + (frame.down + frame.across) / 2, 2 * frame.down, 2 * frame.across, max(1, edge // 2)


def _row(image: Pixels, description: str, coverage: float, spacing_mm: float) -> dict[str, Any]:
    return {
        "plane": description,
        "foreground_ratio": coverage,
        "spacing_mm": spacing_mm,
        "png": encode_png(image),
    }
