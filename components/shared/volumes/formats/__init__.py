"""File formats of volumes: one module for each format, and the table that selects it by the ending of a file's name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import Volume, VolumeHeader
from components.shared.volumes.formats.hints import check_content
from components.shared.volumes.formats.nifti import read_nifti_header
from components.shared.volumes.formats.voxels import (
    READ_ERRORS,
    check_grey,
    digest_of,
    read_segments,
    to_native_grey,
    unreadable,
)


@dataclass(frozen=True)
class VolumeFormat:
    """A file format of volumes.

    Attributes:
        name: Name of the format.
        suffixes: Endings of its files, in lower case.
        read_header: Function that reads the header of a file and checks it, without reading voxels.
    """

    name: str
    suffixes: tuple[str, ...]
    read_header: Callable[[Path], VolumeHeader]


FORMATS = (VolumeFormat("NIfTI", (".nii.gz", ".nii"), read_nifti_header),)
VOLUME_SUFFIXES = tuple(suffix for volume_format in FORMATS for suffix in volume_format.suffixes)


def format_of(file: Path) -> VolumeFormat:
    """Return the format of a file by the ending of its name.

    Raises:
        BadSourceFileError: No format has this ending.
    """
    name = file.name.lower()
    for volume_format in FORMATS:
        if name.endswith(volume_format.suffixes):
            return volume_format
    raise BadSourceFileError(f"the name {file.name[-40:]!r}", f"an ending of {', '.join(VOLUME_SUFFIXES)}")


def read_header(file: Path) -> VolumeHeader:
    """Read the header of a volume and check it against the size of the file, without reading voxels.

    Raises:
        BadSourceFileError: The file is no volume or not three-dimensional, or has invalid zooms or too many voxels.
    """
    volume_format = format_of(file)
    check_content(file)
    return volume_format.read_header(file)


def read_volume(file: Path) -> Volume:
    """Read a volume: memory-mapped, or decompressed into an array of exactly its size.

    Voxels that are not finite are replaced by the lowest finite value.

    Raises:
        BadSourceFileError: See `read_header`; also if the file is truncated or damaged, or all voxels are NaN or equal.
    """
    header = read_header(file)
    try:
        flat, digest = read_segments(header), digest_of([file])
    except READ_ERRORS as error:
        raise unreadable(error) from error
    except MemoryError as error:
        problem = f"its {header.nbytes} bytes do not fit into memory"
        raise BadSourceFileError(problem, remedy="Use a larger machine.") from error
    grey = to_native_grey(flat, header).reshape(header.shape[::-1])
    darkest, brightest = check_grey(grey)
    zooms_mm = np.array(header.zooms_mm[::-1], dtype=np.float64)
    return Volume(grey, zooms_mm, darkest, brightest, digest, header.notes)
