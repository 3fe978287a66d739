"""Slices of one volume file as ingest cuts them, for the tests of file formats."""

from pathlib import Path
from typing import Any

import numpy as np

from components.ingest.slice_files import SliceJob, read_batch
from components.ingest.volume_slices import cut_volume

SLICES = 6


def cut(file: Path, scratch: Path, **fields: Any) -> tuple[str, list[bytes]]:
    """Return the reason why a volume is refused, or an empty text, and its slices; all files get the same planes."""
    job = SliceJob("specimen", file, scratch / "slices.arrow", SLICES, "random", 64, 0, **fields)
    result = cut_volume(job)
    return result.refusal, [] if result.refusal else [row["png"] for row in read_batch(job.slice_file, 0)]


def hollow_ball(edge: int = 48, zooms: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Return uint8 [X, Y, Z]: a hollow ball in noise, whose radii are 14 and 10 of 48 lengths."""
    lengths = [round(edge / zoom) for zoom in zooms]
    grid = [(np.arange(length) - (length - 1) / 2) * zoom for length, zoom in zip(lengths, zooms, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*grid, indexing="ij", sparse=True))) * 48 / edge
    grey = np.where((radius <= 14) & (radius >= 10), 180, 40) + np.random.default_rng(0).normal(0, 6, lengths)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)
