"""Data set of slices for the probe."""

from pathlib import Path

from components.shared.contracts import SlicesInfo
from components.shared.slices import Slice, SlicesWriter, held_out_split


def write_slices(folder: Path, count: int, folds: int = 0) -> Path:
    folder.mkdir()
    info = SlicesInfo(
        classes=("Alveolina", "Orbitoides"),
        image_size=8,
        channels=1,
        counts=(),
        seed=0,
        preprocessing={},
        sources_hash="",
        folds=folds,
    )
    split = held_out_split(info)
    with SlicesWriter(folder, info.classes) as writer:
        for number in range(count):
            writer.add(Slice(f"x/{number}", "Alveolina", "x", split, "axial", 0.5, 1.0, {}, b"png %d" % number))
        writer.finish(info)
    return folder
