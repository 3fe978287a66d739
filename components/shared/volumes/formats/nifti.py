"""NIfTI volumes: `.nii` and `.nii.gz`, NIfTI-1 and NIfTI-2. nibabel parses the fields of the header."""

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import (
    MAX_DEFLATE_RATIO,
    Encoding,
    Segment,
    Shape,
    VolumeHeader,
    check_size,
    check_zooms,
    spatial_shape,
)
from components.shared.volumes.formats.gzip_stream import GZIP_MAGIC, GzipStream
from components.shared.volumes.formats.nifti_affine import voxel_size
from components.shared.volumes.formats.voxels import READ_ERRORS, unreadable

_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MM_PER_UNIT = {1: (1e3, "m"), 2: (1.0, "mm"), 3: (1e-3, "micrometres")}
_BLOCK_BYTES = 540
_MAX_OFFSET = 16 * 2**20


def read_nifti_header(file: Path) -> VolumeHeader:
    """Read a NIfTI header and check it against the size of the file, without reading voxels.

    Raises:
        BadSourceFileError: The file is no NIfTI volume or not three-dimensional, or has invalid zooms or too many
            voxels.
    """
    try:
        with file.open("rb") as raw:
            block, encoding = _first_block(raw)
            size = os.fstat(raw.fileno()).st_size
    except READ_ERRORS as error:
        raise unreadable(error) from error
    if not block:
        raise BadSourceFileError("the file is empty", "a NIfTI volume", "Copy it again.")
    header = _parse_header(block)
    shape, dtype, offset = _shape(header), _grey_type(header), _offset(header)
    mm_per_unit, unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, (1.0, "mm"))
    size_of_voxel = voxel_size(header, unit)
    nbytes = math.prod(shape) * dtype.itemsize
    check_size(shape, offset + nbytes, size, size if encoding == "raw" else size * MAX_DEFLATE_RATIO)
    return VolumeHeader(
        shape=shape,
        dtype=dtype,
        zooms_mm=check_zooms(size_of_voxel.lengths, mm_per_unit, unit),
        segments=(_segment(file, offset, nbytes, encoding),),
        inverted=bool(float(header["scl_slope"]) < 0),
        notes=size_of_voxel.notes,
    )


def _first_block(raw: BinaryIO) -> tuple[bytes, Encoding]:
    """Return the first bytes after decompression, and the compression; a file may be compressed twice."""
    if raw.peek(2)[:2] != GZIP_MAGIC:  # type: ignore[attr-defined]
        return raw.read(_BLOCK_BYTES), "raw"
    block = GzipStream(raw).read(_BLOCK_BYTES)
    if not block.startswith(GZIP_MAGIC):
        return block, "gzip"
    raw.seek(0)
    return GzipStream(GzipStream(raw)).read(_BLOCK_BYTES), "gzip in gzip"


def _segment(file: Path, offset: int, nbytes: int, encoding: Encoding) -> Segment:
    if encoding == "raw":
        return Segment(file, offset, nbytes)
    return Segment(file, 0, nbytes, encoding, skipped_bytes=offset)


def _parse_header(block: bytes) -> Any:
    for size, kind in _HEADERS.items():
        for order, name in (("<", "little"), (">", "big")):
            if int.from_bytes(block[:4], name) == size and len(block) >= size:  # type: ignore[arg-type]
                header = kind(block[:size], endianness=order, check=False)
                magic = bytes(header["magic"].tobytes())
                if magic.startswith((b"ni1", b"ni2")):
                    raise BadSourceFileError("a header without voxels (.hdr of a pair)", "one .nii or .nii.gz file")
                if magic.startswith((b"n+1", b"n+2")):
                    return header
    raise BadSourceFileError("not a NIfTI file", "a .nii or .nii.gz volume", "Export the scan as NIfTI.")


def _shape(header: Any) -> Shape:
    dim = [int(length) for length in header["dim"]]
    lengths = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    shape = [*lengths[:3], *(length or 1 for length in lengths[3:])]  # some programs write 0 for an unused axis
    if not shape or min(shape) < 1:
        raise BadSourceFileError(f"dimensions {dim}", "three positive lengths", "Export the scan again.")
    return spatial_shape(shape)


def _grey_type(header: Any) -> np.dtype[Any]:
    code = int(header["datatype"])
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError) as error:
        raise BadSourceFileError(f"data type {code}", "integers or floating point numbers") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise BadSourceFileError(f"data type {code} ({dtype})", "integers or floating point numbers of at most 64 bits")
    return dtype


def _offset(header: Any) -> int:
    offset = float(header["vox_offset"])
    minimum = header.template_dtype.itemsize
    if not math.isfinite(offset) or not (offset == 0 or minimum <= offset <= _MAX_OFFSET):
        problem = f"voxels at byte {offset:g}"
        raise BadSourceFileError(problem, f"an offset of {minimum} to {_MAX_OFFSET} bytes", "Export the scan again.")
    return int(offset) or minimum + 4
