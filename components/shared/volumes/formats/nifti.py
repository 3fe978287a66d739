"""NIfTI-1, NIfTI-2 and Analyze 7.5: `.nii`, `.nii.gz`, or the pair `.hdr` and `.img`; nibabel parses the fields."""

import math
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import (
    MAX_DEFLATE_RATIO,
    Encoding,
    Segment,
    Shape,
    VolumeHeader,
    Zooms,
    check_size,
    choose_zooms,
    spatial_shape,
)
from components.shared.volumes.formats.gzip_stream import GZIP_MAGIC, GzipStream
from components.shared.volumes.formats.nifti_affine import voxel_size
from components.shared.volumes.formats.voxels import READ_ERRORS, unreadable

PAIR_SUFFIX, DATA_SUFFIXES = ".hdr", (".img", ".IMG", ".img.gz")
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MM_PER_UNIT = {1: (1e3, "m"), 2: (1.0, "mm"), 3: (1e-3, "micrometres")}
_BLOCK_BYTES, _ANALYZE_BYTES = 540, 348
_MAX_OFFSET = 16 * 2**20


def read_nifti_header(file: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Read the header of a `.nii` or `.nii.gz` file and check it against the file's size, without reading voxels.

    A `.nii.bz2` file does not come this far: `check_content` refuses it by its first bytes.

    Raises:
        BadSourceFileError: The file is no NIfTI volume or not three-dimensional, or has invalid zooms or too many
            voxels.
    """
    block, encoding = _read_first_block(file)
    header, is_pair = _parse_header(block)
    if is_pair:
        raise BadSourceFileError(
            "a header without voxels (.hdr of a pair)", "one .nii or .nii.gz file, or the files .hdr and .img"
        )
    minimum = header.template_dtype.itemsize
    offset = _offset(header, minimum) or minimum + 4
    return _volume_header(header, file, offset, encoding, spacing_mm)


def read_pair_header(file: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Read a `.hdr` file of NIfTI or Analyze 7.5 and check it against the size of the `.img` file.

    Raises:
        BadSourceFileError: See `read_nifti_header`; also if the `.img` file is missing.
    """
    block, _ = _read_first_block(file)
    header, _ = _parse_header(block)
    _, data_file = pair_files(file)
    _, encoding = _read_first_block(data_file)
    return _volume_header(header, data_file, _offset(header, 0), encoding, spacing_mm)


def pair_files(file: Path) -> list[Path]:
    """Return the `.hdr` file and the `.img` file of a pair.

    Raises:
        BadSourceFileError: The `.img` file is missing.
    """
    for suffix in DATA_SUFFIXES:
        data_file = file.with_name(file.name[: -len(PAIR_SUFFIX)] + suffix)
        if data_file.is_file():
            return [file, data_file]
    raise BadSourceFileError(
        "a header without voxels (.hdr of a pair)", "the .img file beside it", "Copy it there, too."
    )


def _volume_header(header: Any, file: Path, offset: int, encoding: Encoding, spacing_mm: Zooms | None) -> VolumeHeader:
    shape, dtype, slope = _shape(header), _grey_type(header), _field(header, "scl_slope")
    mm_per_unit, unit = _MM_PER_UNIT.get(int(_field(header, "xyzt_units")) & 7, (1.0, "mm"))
    size_of_voxel = voxel_size(header, unit)
    zooms, notes = choose_zooms(size_of_voxel.lengths, mm_per_unit, unit, spacing_mm)
    nbytes, size = math.prod(shape) * dtype.itemsize, file.stat().st_size
    check_size(shape, offset + nbytes, size, size if encoding == "raw" else size * MAX_DEFLATE_RATIO)
    return VolumeHeader(
        shape=shape,
        dtype=dtype,
        zooms_mm=zooms,
        segments=(_segment(file, offset, nbytes, encoding),),
        is_inverted=slope < 0,
        affine=_affine(header),
        stored_zero=_stored_zero(slope, _field(header, "scl_inter")),
        notes=(*size_of_voxel.notes, *notes),
    )


def _field(header: Any, name: str) -> float:
    """Return a field of a header, 0 if the header is one of Analyze, which lacks it."""
    return float(header[name]) if name in header.keys() else 0.0  # noqa: SIM118 nibabel's headers are no mappings


def _affine(header: Any) -> NDArray[np.float64] | None:
    if _field(header, "sform_code") <= 0 and _field(header, "qform_code") <= 0:
        return None
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError):
        return None
    return affine if np.isfinite(affine).all() else None


def _stored_zero(slope: float, intercept: float) -> float:
    is_scaled = math.isfinite(slope) and slope != 0 and math.isfinite(intercept)
    return -intercept / slope if is_scaled else 0.0


def _read_first_block(file: Path) -> tuple[bytes, Encoding]:
    try:
        with file.open("rb") as raw:
            block, encoding = _first_block(raw)
    except READ_ERRORS as error:
        raise unreadable(error) from error
    if not block:
        raise BadSourceFileError("the file is empty", "a NIfTI volume", "Copy it again.")
    return block, encoding


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


def _parse_header(block: bytes) -> tuple[Any, bool]:
    """Return a header, and whether it is one of a pair."""
    for size, kind in _HEADERS.items():
        for order, name in (("<", "little"), (">", "big")):
            if int.from_bytes(block[:4], name) == size and len(block) >= size:  # type: ignore[arg-type]
                header = kind(block[:size], endianness=order, check=False)
                magic = bytes(header["magic"].tobytes())
                if magic.startswith((b"ni1", b"ni2")):
                    return header, True
                if magic.startswith((b"n+1", b"n+2")):
                    return header, False
                if size == _ANALYZE_BYTES and not magic.strip(b"\0"):
                    return nib.AnalyzeHeader(block[:size], endianness=order, check=False), True
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


def _offset(header: Any, minimum: int) -> int:
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or not (offset == 0 or minimum <= offset <= _MAX_OFFSET):
        problem = f"voxels at byte {offset:g}"
        raise BadSourceFileError(problem, f"an offset of {minimum} to {_MAX_OFFSET} bytes", "Export the scan again.")
    return int(offset)
