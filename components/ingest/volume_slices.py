"""One volume becomes slices: what a worker process does. It must not import TensorFlow."""

from dataclasses import dataclass
from pathlib import Path

from components.ingest.near_copies.volume_fingerprint import fingerprint
from components.ingest.slice_files import write_part
from components.shared.errors import BadSourceFileError
from components.shared.volumes.nifti import read_volume
from components.shared.volumes.planes import Schedule
from components.shared.volumes.slicing import SMALLEST_COVERAGE, cut_slices, planes_rng
from components.shared.volumes.specimen import find_specimen


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
            raise BadSourceFileError("the file changed while it was read", remedy="Leave volumes alone during a run.")
        del volume  # its grey values are not needed beside the windowed ones
        rng = planes_rng(job.path, job.seed)
        slices = write_part(job.part, cut_slices(specimen, job.schedule, job.quota, job.image_size, rng))
    except BadSourceFileError as error:
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
        raise BadSourceFileError(f"the file cannot be read ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns
