"""Memory of cutting a volume, and the time of a slice by the volume's size.

A separate process cuts a small volume first, so that imports belong to the baseline. The figure is the growth of its
peak resident memory, file pages included, relative to the bytes of the stored volume.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from components.ingest.slice_files import SliceJob
from components.ingest.volume_slices import cut_volume
from tests.benchmarks.large_phantoms import write_large_phantom
from tests.benchmarks.measurement import Measurement, peak_resident_bytes, run_in_subprocess

SLICES = 20


def memory_growth(small: str, large: str, part: str) -> int:
    """Cut two volumes of the same type; return the growth of the peak memory for the second one in bytes."""
    _cut(Path(small), Path(part), SLICES)
    baseline = peak_resident_bytes()
    _cut(Path(large), Path(part), SLICES)
    return peak_resident_bytes() - baseline


def _cut(volume: Path, part: Path, quota: int) -> float:
    start = time.process_time()
    result = cut_volume(SliceJob(volume.name, volume, part, quota, "published", 224, 0))
    assert result.slices == quota, result.refusal
    return time.process_time() - start


def _memory(scratch: Path, edge: int, dtype: str, suffix: str, bar: float) -> Iterator[Measurement]:
    small = write_large_phantom(scratch / f"small{suffix}", 64, dtype)
    large = write_large_phantom(scratch / f"large{suffix}", edge, dtype)
    volume = edge**3 * np.dtype(dtype).itemsize
    cost = run_in_subprocess(memory_growth, small, large, scratch / "part.arrow")
    name = f"memory {edge} voxels wide, {dtype}, {suffix[1:]}"
    yield Measurement(name, cost / 2**20, "MiB", volume / 2**20, cost / volume, f"<= {bar:g} times the volume")


def _memory_of_gzip(scratch: Path) -> Iterator[Measurement]:
    for dtype in ("uint8", "uint16", "float32"):
        yield from _memory(scratch, 256, dtype, ".nii.gz", 2.5)


def _time_of_a_slice(scratch: Path) -> Iterator[Measurement]:
    """Compare the time of a slice in volumes of different sizes, without reading and masking."""
    cost = {}
    for edge in (96, 256):
        volume = write_large_phantom(scratch / f"{edge}.nii", edge, "uint8")
        few, many = (min(_cut(volume, scratch / "part", quota) for _ in range(3)) for quota in (20, 420))
        cost[edge] = (many - few) / 400 * 1e3
    yield Measurement("ingest-slice-256", cost[256], "ms", cost[96], cost[256] / cost[96], "about that of 96 voxels")


BENCHMARKS = {
    "memory-gzip": _memory_of_gzip,
    "memory-mapped": partial(_memory, edge=512, dtype="float32", suffix=".nii", bar=2.0),
    "ingest-slice": _time_of_a_slice,
}
