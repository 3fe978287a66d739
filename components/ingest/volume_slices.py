"""One volume becomes slices: what a worker process does. It must not import TensorFlow."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from components.ingest.near_copies.volume_fingerprint import fingerprint
from components.ingest.slice_files import write_part
from components.shared.errors import BadVolumeError
from components.shared.images.decoding import encode_png
from components.shared.volumes.nifti import read_volume
from components.shared.volumes.planes import CUTS, Frame, Schedule, frame_of, most_attempts
from components.shared.volumes.sampling import Vector, mask_coverage, sample_plane
from components.shared.volumes.specimen import Specimen, find_specimen

SMALLEST_COVERAGE = 0.02


@dataclass(frozen=True)
class CutJob:
    """What to cut from which volume.

    Attributes:
        path: the volume's name in the manifest.
        file: where it is.
        part: the file that the slices go into.
        quota: how many slices.
        schedule: how planes are chosen.
        image_size: edge of the slices in pixels.
        seed: the data set's seed; with the path it seeds this volume's planes.
    """

    path: str
    file: Path
    part: Path
    quota: int
    schedule: Schedule
    image_size: int
    seed: int


@dataclass(frozen=True)
class CutResult:
    """What came of a volume.

    Attributes:
        slices: how many were cut.
        digest: SHA-256 of the file.
        grey_counts: int64 [256], the windowed volume's histogram.
        refused: why the volume cannot be used, or empty.
        fingerprint: by which other scans of the specimen are known.
        size: width and height of a photograph in pixels.
    """

    slices: int = 0
    digest: str = ""
    grey_counts: tuple[int, ...] = ()
    refused: str = ""
    fingerprint: str = ""
    size: tuple[int, int] = (0, 0)


def cut_volume(job: CutJob) -> CutResult:
    """Reads a volume, finds the specimen, and writes its slices into a part.

    Never raises for a bad volume: the result says why it is refused.
    """
    try:
        state = _state_of(job.file)
        volume = read_volume(job.file)
        digest = volume.digest
        specimen = find_specimen(volume)
        if _state_of(job.file) != state:
            raise BadVolumeError("the file changed while it was read", remedy="Leave volumes alone during a run.")
        del volume  # its grey values are not needed beside the windowed ones
        rng = planes_rng(job.path, job.seed)
        slices = write_part(job.part, slices_of(specimen, job.schedule, job.quota, job.image_size, rng))
    except BadVolumeError as error:
        return CutResult(refused=str(error))
    except MemoryError:
        return CutResult(refused="it does not fit into memory. Use a larger machine or bin the volume")
    if slices == 0 and job.quota > 0:
        return CutResult(refused=f"no plane on which the specimen covers {SMALLEST_COVERAGE:.0%} of the frame")
    counts = tuple(int(count) for count in specimen.grey_counts)
    return CutResult(slices, digest, counts, fingerprint=fingerprint(specimen))


def _state_of(file: Path) -> tuple[int, int]:
    """Returns what changes with a file: its size and when it was last written."""
    try:
        found = file.stat()
    except OSError as error:
        raise BadVolumeError(f"the file cannot be read ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns


def planes_rng(path: str, seed: int) -> np.random.Generator:
    """Returns what chooses a volume's planes: by its name, so that other volumes change nothing, and a seed."""
    digest = hashlib.sha256(f"{seed}\0{path}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def slices_of(
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
