"""Slices of a specimen: which planes are kept, and their pixels as PNG."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from components.shared.images.decoding import encode_png
from components.shared.volumes.planes import CUTS, Frame, Schedule, frame_of, most_attempts
from components.shared.volumes.sampling import Vector, mask_coverage, sample_plane
from components.shared.volumes.specimen import Specimen

SMALLEST_COVERAGE = 0.02


def planes_rng(path: str, seed: int) -> np.random.Generator:
    """Returns what chooses a volume's planes: by its name, so that other volumes change nothing, and a seed."""
    digest = hashlib.sha256(f"{seed}\0{path}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def cut_slices(
    specimen: Specimen, schedule: Schedule, quota: int, image_size: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Cuts a specimen.

    Args:
        specimen: found in its volume.
        schedule: how planes are chosen.
        quota: at most so many slices.
        image_size: their edge in pixels.
        rng: chooses the planes; of `planes_rng`.

    Yields:
        The rows of the slices, each with its `png` and its `plane` in words.
    """
    attempts = found = 0
    cuts = CUTS[schedule](specimen, rng)
    while found < quota and attempts < most_attempts(schedule, quota):
        cut = next(cuts, None)
        if cut is None:
            return
        attempts += 1
        frame = frame_of(cut, specimen, image_size)
        coverage = mask_coverage(specimen.mask, *_every_second_pixel(frame, image_size))
        if coverage >= SMALLEST_COVERAGE:
            found += 1
            place = (frame.corner, frame.down, frame.across, image_size)
            plane = sample_plane(specimen.grey, *place, float(specimen.background))
            yield _row(np.rint(plane).astype(np.uint8), cut.words, coverage, frame.spacing_mm)


def _every_second_pixel(frame: Frame, edge: int) -> tuple[Vector, Vector, Vector, int]:
    """Returns a frame of half as many rows and columns: enough to measure how much of it the specimen covers."""
    return frame.corner + (frame.down + frame.across) / 2, 2 * frame.down, 2 * frame.across, max(1, edge // 2)


def _row(image: np.ndarray[Any, np.dtype[np.uint8]], words: str, coverage: float, spacing_mm: float) -> dict[str, Any]:
    return {
        "plane": words,
        "foreground_ratio": coverage,
        "spacing_mm": spacing_mm,
        "png": encode_png(image),
    }
