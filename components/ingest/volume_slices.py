"""Slices of one volume, cut in a worker process. This module must not import TensorFlow."""

import base64
from pathlib import Path

from components.ingest.near_copies.volume_fingerprint import fingerprint_volume
from components.ingest.slice_files import SliceJob, SliceResult, write_slice_file
from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import files_of, read_volume
from components.shared.volumes.label_maps import refuse_label_map
from components.shared.volumes.mask_picture import draw_section
from components.shared.volumes.slicing import SMALLEST_COVERAGE, cut_slices, planes_rng
from components.shared.volumes.specimen import find_specimen
from components.shared.volumes.user_mask import read_mask


def cut_volume(job: SliceJob) -> SliceResult:
    """Read a volume, find the specimen, and write its slices to the slice file.

    No exception is raised for a bad volume: the result contains the reason for its refusal.
    """
    try:
        status = _file_status(job.file)
        mask, mask_digest = read_mask(job.file, job.mask, job.spacing_mm) if job.mask else (None, "")
        volume = read_volume(job.file, job.spacing_mm)
        refuse_label_map(volume)
        digest, notes = volume.digest, volume.notes
        specimen = find_specimen(volume, mask)
        if _file_status(job.file) != status:
            raise BadSourceFileError(
                "the file changed while it was read", remedy="Do not change source files during a run."
            )
        del volume  # its grey values are not needed beside the windowed ones
        rng = planes_rng(job.path, job.seed)
        slices = write_slice_file(job.slice_file, cut_slices(specimen, job.schedule, job.quota, job.image_size, rng))
    except BadSourceFileError as error:
        return SliceResult(refusal=str(error))
    except MemoryError:
        return SliceResult(refusal="it does not fit into memory. Use a larger machine or bin the volume")
    if slices == 0 and job.quota > 0:
        return SliceResult(refusal=f"no plane on which the specimen covers {SMALLEST_COVERAGE:.0%} of the frame")
    counts = tuple(int(count) for count in specimen.grey_counts)
    return SliceResult(
        slices,
        digest,
        counts,
        fingerprint=fingerprint_volume(specimen),
        notes=notes,
        doubts=specimen.doubts,
        mask_digest=mask_digest,
        section=base64.b64encode(draw_section(specimen)).decode(),
    )


def _file_status(file: Path) -> list[tuple[int, int]]:
    """Return the sizes and modification times of all files of a volume, by which a change is detected."""
    try:
        statuses = [part.stat() for part in files_of(file)]
    except OSError as error:
        raise BadSourceFileError(f"the file cannot be read ({error.strerror})") from error
    return [(status.st_size, status.st_mtime_ns) for status in statuses]
