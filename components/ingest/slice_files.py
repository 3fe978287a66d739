"""The slices of one volume in a file of their own, until they are put in order: Arrow, in small batches."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.shared.arrow import record_batch

BATCH_SLICES = 16
_SCHEMA = pa.schema(
    [
        ("plane", pa.string()),
        ("foreground_ratio", pa.float64()),
        ("spacing_mm", pa.float64()),
        ("png", pa.binary()),
    ]
)


def write_part(file: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Writes rows in batches of BATCH_SLICES and returns how many there were.

    Args:
        file: to be written.
        rows: of slices.
    """
    count, waiting = 0, []
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        for row in rows:
            waiting.append(row)
            count += 1
            if len(waiting) == BATCH_SLICES:
                writer.write_batch(record_batch(waiting))
                waiting = []
        if waiting:
            writer.write_batch(record_batch(waiting))
    return count


def read_batch(file: Path, number: int) -> list[dict[str, Any]]:
    """Reads one batch of a part; past the last one it is empty."""
    with pa.OSFile(str(file), "rb") as source:
        reader = pa.ipc.open_file(source)
        return list(reader.get_batch(number).to_pylist()) if number < reader.num_record_batches else []


def in_turns(files: Iterable[Path]) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """Yields (part, number of the slice in it, row), a batch of each part in turn, so that volumes are mixed.

    Only one part is open at a time.
    """
    going, batch = list(files), 0
    while going:
        still_going = []
        for file in going:
            rows = read_batch(file, batch)
            yield from ((file, batch * BATCH_SLICES + place, row) for place, row in enumerate(rows))
            if len(rows) == BATCH_SLICES:
                still_going.append(file)
        going, batch = still_going, batch + 1
