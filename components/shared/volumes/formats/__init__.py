"""File formats of volumes: one module for each format, and the table that selects it by the ending of a file's name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import Volume, VolumeHeader, Zooms
from components.shared.volumes.formats.hints import check_content
from components.shared.volumes.formats.metaimage import metaimage_files, read_metaimage_header
from components.shared.volumes.formats.nifti import pair_files, read_nifti_header, read_pair_header
from components.shared.volumes.formats.nrrd import nrrd_files, read_nrrd_header
from components.shared.volumes.formats.stack_names import TIFF_SUFFIXES
from components.shared.volumes.formats.tiff import locate_pages, read_tiff_header, tiff_files
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
        read_header: Function that reads the header of a file and checks it, without reading voxels. Its second argument
            is the voxel size in mm that counts if the file has none, or None.
        files: Function that returns all files of a volume, the given one first.
        locate: Function that adds the parts of the files with the voxels to a header, if `read_header` does not.
    """

    name: str
    suffixes: tuple[str, ...]
    read_header: Callable[[Path, Zooms | None], VolumeHeader]
    files: Callable[[Path], list[Path]]
    locate: Callable[[Path, VolumeHeader], VolumeHeader] | None = None


def _only_file(file: Path) -> list[Path]:
    return [file]


FORMATS = (
    VolumeFormat("NIfTI", (".nii.gz", ".nii.bz2", ".nii"), read_nifti_header, _only_file),
    VolumeFormat("NIfTI pair", (".hdr",), read_pair_header, pair_files),
    VolumeFormat("NRRD", (".nrrd", ".nhdr"), read_nrrd_header, nrrd_files),
    VolumeFormat("MetaImage", (".mha", ".mhd"), read_metaimage_header, metaimage_files),
)
TIFF_STACK = VolumeFormat("TIFF stack", TIFF_SUFFIXES, read_tiff_header, tiff_files, locate_pages)
"""Format of folders of slices, and of files with several pages: its endings are also those of images."""
VOLUME_SUFFIXES = tuple(suffix for volume_format in FORMATS for suffix in volume_format.suffixes)


def format_of(file: Path) -> VolumeFormat:
    """Return the format of a file by the ending of its name.

    Raises:
        BadSourceFileError: No format has this ending.
    """
    name = file.name.lower()
    if file.is_dir() or name.endswith(TIFF_STACK.suffixes):
        return TIFF_STACK
    for volume_format in FORMATS:
        if name.endswith(volume_format.suffixes):
            return volume_format
    raise BadSourceFileError(f"the name {file.name[-40:]!r}", f"an ending of {', '.join(VOLUME_SUFFIXES)}")


def files_of(file: Path) -> list[Path]:
    """Return all files of a volume, the given one first.

    Raises:
        BadSourceFileError: A file is missing, or is outside the folder of the first one.
    """
    return format_of(file).files(file)


def read_header(file: Path, spacing_mm: Zooms | None = None) -> VolumeHeader:
    """Read the header of a volume and check it against the size of the file, without reading voxels.

    Args:
        file: File of the volume; of several, the one with the header.
        spacing_mm: Edge lengths of a voxel that count if the file has none, the fastest axis first.

    Raises:
        BadSourceFileError: The file is no volume or not three-dimensional, or has invalid zooms or too many voxels.
    """
    if not file.is_dir():
        check_content(file)
    return format_of(file).read_header(file, spacing_mm)


def read_volume(file: Path, spacing_mm: Zooms | None = None) -> Volume:
    """Read a volume: memory-mapped, or decompressed into an array of exactly its size.

    Voxels that are not finite are replaced by the lowest finite value.

    Args:
        file: See `read_header`.
        spacing_mm: See `read_header`.

    Raises:
        BadSourceFileError: See `read_header`; also if the file is truncated or damaged, or all voxels are NaN or equal.
    """
    header = read_header(file, spacing_mm)
    flat, digest = read_stored_voxels(file, header)
    grey = to_native_grey(flat, header).reshape(header.shape[::-1])
    darkest, brightest, padding = check_grey(grey)
    zooms_mm = np.array(header.zooms_mm[::-1], dtype=np.float64)
    return Volume(grey, zooms_mm, darkest, brightest, digest, padding, header.notes)


def read_stored_voxels(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    """Return the stored voxels as a flat array in the byte order of the file, and the SHA-256 of all its files.

    Raises:
        BadSourceFileError: The file is truncated or damaged, or does not fit into memory.
    """
    locate = format_of(file).locate
    try:
        header = locate(file, header) if locate else header
        return read_segments(header), digest_of(files_of(file))
    except READ_ERRORS as error:
        raise unreadable(error) from error
    except MemoryError as error:
        problem = f"its {header.nbytes} bytes do not fit into memory"
        raise BadSourceFileError(problem, remedy="Use a larger machine.") from error
