"""The job of a worker on one source file, its result, and the Arrow file of slices that it writes.

A slice file contains the slices of one volume or photograph until the merge puts all slices in order.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.files.arrow import record_batch
from components.shared.volumes.plane_schedules import Schedule

BATCH_SLICES = 16
_SCHEMA = pa.schema(
    [
        ("plane", pa.string()),
        ("foreground_ratio", pa.float64()),
        ("spacing_mm", pa.float64()),
        ("png", pa.binary()),
    ]
)


@dataclass(frozen=True)
class SliceJob:
    """The job of making slices from one source file.

    Attributes:
        path: Path of the source file in the manifest.
        file: Local path of the source file.
        slice_file: File to which the slices are written.
        quota: Number of slices.
        schedule: Schedule of the planes.
        image_size: Edge of the slices in pixels.
        seed: Seed of the data set; together with the path it seeds the planes of this volume.
        spacing_mm: Edge lengths of a voxel along X, Y, Z that count if the file has none, or None.
        mask: Local path of the user's own mask, or None.
    """

    path: str
    file: Path
    slice_file: Path
    quota: int
    schedule: Schedule
    image_size: int
    seed: int
    spacing_mm: tuple[float, float, float] | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class SliceResult:
    """The result of one job.

    Attributes:
        slices: Number of slices.
        digest: SHA-256 of the source file.
        mask_digest: SHA-256 of the user's own mask; empty without one.
        grey_counts: Histogram of the windowed volume, int64 [256]; empty for a photograph.
        refusal: Reason why the source file is refused; empty if it is usable.
        fingerprint: Fingerprint by which near-copies are detected.
        size: Width and height of a photograph in pixels.
        notes: Sentences about contradictions in a usable file.
        doubts: Reasons why the mask of a volume is doubtful.
        section: PNG of a section of a volume with the outline of its mask, in base64.
    """

    slices: int = 0
    digest: str = ""
    grey_counts: tuple[int, ...] = ()
    refusal: str = ""
    fingerprint: str = ""
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    section: str = ""
    mask_digest: str = ""


def write_slice_file(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write rows in batches of BATCH_SLICES and return their number.

    Args:
        file: Slice file.
        rows: Slices with the fields `plane`, `foreground_ratio`, `spacing_mm` and `png`.
    """
    count, batch = 0, []
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == BATCH_SLICES:
                writer.write_batch(record_batch(batch))
                batch = []
        if batch:
            writer.write_batch(record_batch(batch))
    return count


def read_batch(file: Path, number: int) -> list[dict[str, Any]]:
    """Return one batch of a slice file; it is empty after the last batch."""
    with pa.OSFile(str(file), "rb") as source:
        reader = pa.ipc.open_file(source)
        return list(reader.get_batch(number).to_pylist()) if number < reader.num_record_batches else []


def interleave(files: Iterable[Path]) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Yield (slice file, number of the slice in it, row), one batch of each file in turn, so that specimens are mixed.

    Only one file is open at a time.
    """
    unread_files, batch = list(files), 0
    while unread_files:
        longer_files = []
        for file in unread_files:
            rows = read_batch(file, batch)
            yield from ((file, batch * BATCH_SLICES + index, row) for index, row in enumerate(rows))
            if len(rows) == BATCH_SLICES:
                longer_files.append(file)
        unread_files, batch = longer_files, batch + 1
