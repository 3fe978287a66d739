"""Slices of local volumes, cut as for the training; only slices are sent to the server.

The modules for volumes are imported when the first file is examined.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.errors import BadSourceFileError
from components.shared.images.decoding import FORMATS

if TYPE_CHECKING:
    from components.shared.volumes.plane_schedules import Schedule

TIFF_SUFFIXES = FORMATS["TIFF"]
LARGEST_VOLUME_BYTES = 8 * 2**30
MOST_SLICES, DEFAULT_SLICES, DEFAULT_EDGE = 1000, 32, 224
DEFAULT_SCHEDULE: "Schedule" = "random"


@dataclass(frozen=True)
class SlicingOptions:
    """The options for slices of volumes.

    Attributes:
        slices: Number of slices per volume.
        edge: Edge of a slice in pixels.
        schedule: Schedule of the planes.
        seed: Seed of the planes.
    """

    slices: int
    edge: int
    schedule: "Schedule" = DEFAULT_SCHEDULE
    seed: int = 0


@dataclass(frozen=True)
class VolumeSlice:
    """A slice of a volume.

    Attributes:
        image: Raw slice as a PNG file.
        plane: Description of the plane.
    """

    image: bytes
    plane: str


def volume_suffixes() -> tuple[str, ...]:
    """Return the suffixes of volume files, in lower case."""
    from components.shared.volumes.formats import VOLUME_SUFFIXES

    return VOLUME_SUFFIXES


def is_volume(path: Path) -> bool:
    """Return whether a file is a volume by its name, or by its pages if it is a TIFF file."""
    if path.name.lower().endswith(volume_suffixes()):
        return True
    if not path.name.lower().endswith(TIFF_SUFFIXES):
        return False
    from components.shared.volumes.formats.tiff import has_several_pages

    try:
        return has_several_pages(path)
    except BadSourceFileError:  # the server names the fault of an image
        return False


def specimen_of(volume: Path) -> str:
    """Return the specimen's name: the file name without its suffixes."""
    suffixes = (*volume_suffixes(), *TIFF_SUFFIXES)
    suffix = next(suffix for suffix in suffixes if volume.name.lower().endswith(suffix))
    return volume.name[: -len(suffix)]


def iterate_slices(file: Path, options: SlicingOptions) -> Iterator[VolumeSlice]:
    """Yield raw slices of a volume, like the slices that a scanner exports; print doubts of its mask and notes.

    Raises:
        BadSourceFileError: The file is not a volume, is too large, or shows no specimen.
    """
    from components.shared.volumes.formats import read_header, read_volume
    from components.shared.volumes.label_maps import refuse_label_map
    from components.shared.volumes.slicing import cut_slices, planes_rng
    from components.shared.volumes.specimen import find_specimen

    size = read_header(file).nbytes
    if size > LARGEST_VOLUME_BYTES:
        raise BadSourceFileError(
            f"{size} bytes of voxels", f"at most {LARGEST_VOLUME_BYTES}", "Crop or bin the volume."
        )
    volume, rng = read_volume(file), planes_rng(file.name, options.seed)
    refuse_label_map(volume)
    specimen = find_specimen(volume)
    for sentence in (*volume.notes, *(f"its mask is doubtful: {doubt}" for doubt in specimen.doubts)):
        sys.stderr.write(f"{file}: {sentence}\n")
    for row in cut_slices(specimen, options.schedule, options.slices, options.edge, rng):
        yield VolumeSlice(row["png"], row["plane"])
