"""Data set of slices for the probe."""

from pathlib import Path

from components.shared.contracts import SlicesInfo
from components.shared.slices import Slice, SlicesWriter


def write_slices(folder: Path, count: int) -> Path:
    folder.mkdir()
    info = SlicesInfo(
        classes=("Alveolina", "Orbitoides"),
        image_size=8,
        channels=1,
        counts=(),
        seed=0,
        preprocessing={},
        sources_hash="",
    )
    with SlicesWriter(folder, info.classes) as writer:
        for number in range(count):
            writer.add(Slice(f"x/{number}", "Alveolina", "x", "test", "axial", 0.5, 1.0, {}, b"png %d" % number))
        writer.finish(info)
    return folder
