"""Volumes are cut where they lie, as training cut them: slices travel, voxels stay.

What it needs is imported when there is a volume.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from components.shared.errors import BadSourceFileError

VOLUME_SUFFIXES = (".nii", ".nii.gz")
LARGEST_VOLUME_BYTES = 8 * 2**30
MOST_SLICES, DEFAULT_SLICES, DEFAULT_EDGE = 1000, 32, 224
Planes = Literal["random", "published"]
PLANES: tuple[Planes, ...] = ("random", "published")


@dataclass(frozen=True)
class Cutting:
    """How volumes are cut.

    Attributes:
        slices: of each volume.
        edge: of a slice in pixels.
        planes: schedule of the ingest step.
        seed: of the planes.
    """

    slices: int
    edge: int
    planes: Planes
    seed: int = 0


@dataclass(frozen=True)
class CutSlice:
    """An encoded raw slice and where it was cut, in words."""

    image: bytes
    plane: str


def is_volume(path: Path) -> bool:
    """Whether a file's name is that of a volume."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def specimen_of(volume: Path) -> str:
    """Returns the file's name without its suffixes."""
    return volume.name[: volume.name.lower().rindex(".nii")]


def cut_volume(file: Path, cutting: Cutting) -> Iterator[CutSlice]:
    """Yields slices of a volume, raw as a scanner would give them.

    Raises:
        BadSourceFileError: it is no volume, too large, or shows no specimen.
    """
    from components.shared.volumes.nifti import read_header, read_volume
    from components.shared.volumes.slicing import cut_slices, planes_rng
    from components.shared.volumes.specimen import find_specimen

    size = read_header(file).nbytes
    if size > LARGEST_VOLUME_BYTES:
        raise BadSourceFileError(
            f"{size} bytes of voxels", f"at most {LARGEST_VOLUME_BYTES}", "Crop or bin the volume."
        )
    specimen, rng = find_specimen(read_volume(file)), planes_rng(file.name, cutting.seed)
    for row in cut_slices(specimen, cutting.planes, cutting.slices, cutting.edge, rng):
        yield CutSlice(row["png"], row["plane"])
