"""Bounded reading of NIfTI volumes: no allocation beyond the content of the file, and no second copy of the voxels.

Only single files are supported (`.nii`, `.nii.gz`, NIfTI-1 and NIfTI-2). nibabel parses the header; the voxels are
memory-mapped, or decompressed directly into their array, because nibabel stores compressed volumes twice.
"""

import hashlib
import io
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.gzip_stream import GZIP_MAGIC, GzipStream
from components.shared.volumes.histograms import grey_range, replace_non_finite

VOLUME_SUFFIXES = (".nii", ".nii.gz")
MIN_VOXELS_PER_AXIS = 8
MAX_VOXELS = 2**32
MAX_ANISOTROPY = 64.0
MIN_ZOOM_MM, MAX_ZOOM_MM = 1e-6, 1e3
MIN_GREY_RANGE = 1e-290
"""Smallest range of grey values: the bins of a histogram of a smaller range underflow."""
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MM_PER_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_MAX_OFFSET = 16 * 2**20
_MAX_DEFLATE_RATIO = 1032  # limit of the deflate format (zlib's technical details)
_CHUNK_BYTES = 2**20


@dataclass(frozen=True)
class VolumeHeader:
    """The header of a NIfTI file.

    Attributes:
        shape: Number of voxels along the three axes of the file, the fastest axis first.
        dtype: Type of the stored voxels, in the byte order of the file.
        offset: Position of the first voxel in bytes.
        zooms_mm: Edge lengths of a voxel along the axes of the file.
        negative_slope: Whether the grey scaling has a negative slope.
        is_gzip: Whether the file is compressed with gzip.
        affine: Matrix from voxels to space, float64 [4, 4], or None if the file sets none.
        stored_zero: Stored number of the grey value zero.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    zooms_mm: tuple[float, float, float]
    negative_slope: bool
    is_gzip: bool
    affine: NDArray[np.float64] | None
    stored_zero: float

    @property
    def nbytes(self) -> int:
        """Size of the voxels in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Volume:
    """A volume in memory or memory-mapped.

    Attributes:
        grey: Grey values [Z, Y, X] in the type of the file, C-contiguous. The positive scaling of the file is not
            applied, since all thresholds and windows here scale with it.
        zooms_mm: Edge lengths of a voxel along Z, Y, X, float64 [3].
        darkest: Lowest grey value.
        brightest: Highest grey value.
        digest: SHA-256 of the file.
        padding: Highest grey value of voxels that were not scanned; they are not background.
    """

    grey: NDArray[Any]
    zooms_mm: NDArray[np.float64]
    darkest: float
    brightest: float
    digest: str
    padding: float = -math.inf


def read_header(file: Path) -> VolumeHeader:
    """Read a NIfTI header and check it against the size of the file, without reading voxels.

    Raises:
        BadSourceFileError: The file is no NIfTI volume or not three-dimensional, or has invalid zooms or too many
            voxels.
    """
    try:
        with file.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            block = GzipStream(raw).read(540) if is_gzip else raw.read(540)
            size = os.fstat(raw.fileno()).st_size
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error
    header = _parse_header(block, is_gzip)
    _check_size(header, size)
    return header


def read_volume(file: Path) -> Volume:
    """Read a volume: memory-mapped, or decompressed into an array of exactly its size.

    Voxels that are not finite are replaced by the lowest finite value.

    Raises:
        BadSourceFileError: See `read_header`; also if the file is truncated or damaged, or all voxels are NaN or equal.
    """
    header = read_header(file)
    flat, digest = read_stored_voxels(file, header)
    grey = _to_native_grey(flat, header).reshape(header.shape[::-1])
    darkest, brightest, padding = _check_grey(grey)
    return Volume(grey, np.array(header.zooms_mm[::-1], dtype=np.float64), darkest, brightest, digest, padding)


def read_stored_voxels(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    """Return the stored voxels as a flat array in the byte order of the file, and the SHA-256 of the file.

    Raises:
        BadSourceFileError: The file is truncated or damaged, or does not fit into memory.
    """
    try:
        return _decompress(file, header) if header.is_gzip else _memory_map(file, header)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error
    except MemoryError as error:
        problem = f"its {header.nbytes} bytes do not fit into memory"
        raise BadSourceFileError(problem, remedy="Use a larger machine.") from error


def _unreadable(error: Exception) -> BadSourceFileError:
    if isinstance(error, EOFError):
        return BadSourceFileError("the file is truncated", "a complete gzip file", "Copy it again.")
    if isinstance(error, zlib.error):
        return BadSourceFileError(f"the file is damaged ({error})", "a complete gzip file", "Copy it again.")
    problem = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    return BadSourceFileError(problem, remedy="Check the file and its permissions.")


def _parse_header(block: bytes, is_gzip: bool) -> VolumeHeader:
    if not block:
        raise BadSourceFileError("the file is empty", "a NIfTI volume", "Copy it again.")
    kind, order = _version_and_byte_order(block)
    header = kind(block[: kind.template_dtype.itemsize], endianness=order, check=False)
    shape = _spatial_shape(header)
    return VolumeHeader(
        shape=shape,
        dtype=_grey_type(header),
        offset=_offset(header),
        zooms_mm=_zooms(header),
        negative_slope=bool(float(header["scl_slope"]) < 0),
        is_gzip=is_gzip,
        affine=_affine(header),
        stored_zero=_stored_zero(header),
    )


def _affine(header: Any) -> NDArray[np.float64] | None:
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        return None
    try:
        affine = np.asarray(header.get_best_affine(), np.float64)
    except (HeaderDataError, ValueError):
        return None
    return affine if np.isfinite(affine).all() else None


def _stored_zero(header: Any) -> float:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    is_scaled = math.isfinite(slope) and slope != 0 and math.isfinite(intercept)
    return -intercept / slope if is_scaled else 0.0


def _version_and_byte_order(block: bytes) -> tuple[Any, str]:
    for size, kind in _HEADERS.items():
        for order, name in (("<", "little"), (">", "big")):
            if int.from_bytes(block[:4], name) == size and len(block) >= size:  # type: ignore[arg-type]
                magic = bytes(kind(block[:size], endianness=order, check=False)["magic"].tobytes())
                if magic.startswith((b"ni1", b"ni2")):
                    raise BadSourceFileError("a header without voxels (.hdr of a pair)", "one .nii or .nii.gz file")
                if magic.startswith((b"n+1", b"n+2")):
                    return kind, order
    raise BadSourceFileError("not a NIfTI file", "a .nii or .nii.gz volume", "Export the scan as NIfTI.")


def _spatial_shape(header: Any) -> tuple[int, int, int]:
    dim = [int(length) for length in header["dim"]]
    shape = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if not shape or min(shape) < 1:
        raise BadSourceFileError(f"dimensions {dim}", "three positive lengths", "Export the scan again.")
    if any(length > 1 for length in shape[3:]):
        raise BadSourceFileError(
            f"several frames or components ({_format_shape(shape)})", "a single frame", "Export a single volume."
        )
    if len(shape) < 3 or min(shape[:3]) == 1:
        raise BadSourceFileError(
            f"a flat image ({_format_shape(shape)})", "three dimensions", "Export the whole volume."
        )
    if min(shape[:3]) < MIN_VOXELS_PER_AXIS:
        raise BadSourceFileError(
            f"{_format_shape(shape[:3])} voxels", f"at least {MIN_VOXELS_PER_AXIS} along each axis"
        )
    return shape[0], shape[1], shape[2]


def _format_shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))


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


def _zooms(header: Any) -> tuple[float, float, float]:
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    pixdim = [float(zoom) for zoom in header["pixdim"][1:4]]
    zooms = [abs(zoom) * unit for zoom in pixdim]
    if not all(math.isfinite(zoom) and MIN_ZOOM_MM <= zoom <= MAX_ZOOM_MM for zoom in zooms):
        raise BadSourceFileError(
            f"zooms {', '.join(f'{zoom:g}' for zoom in pixdim)}",
            f"voxels of {MIN_ZOOM_MM:g} to {MAX_ZOOM_MM:g} mm",
            "Write the voxel size into the header.",
        )
    if max(zooms) > MAX_ANISOTROPY * min(zooms):
        problem = f"voxels {max(zooms) / min(zooms):.0f} times as long as wide"
        raise BadSourceFileError(problem, f"at most {MAX_ANISOTROPY:.0f}", "Resample the scan.")
    return zooms[0], zooms[1], zooms[2]


def _check_size(header: VolumeHeader, file_size: int) -> None:
    limit = file_size * _MAX_DEFLATE_RATIO if header.is_gzip else file_size
    nbytes = header.offset + header.nbytes
    if nbytes > limit:
        raise BadSourceFileError(
            f"the header declares {nbytes} bytes and the file has {file_size}", "a complete volume", "Copy it again."
        )
    if math.prod(header.shape) > MAX_VOXELS:
        raise BadSourceFileError(
            f"{_format_shape(list(header.shape))} voxels", f"at most {MAX_VOXELS}", "Crop or bin the volume."
        )


def _decompress(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    voxels = np.empty(math.prod(header.shape), dtype=header.dtype)
    with _HashedFile(file) as raw:
        stream = GzipStream(raw)
        _fill(memoryview(bytearray(header.offset)), stream)
        _fill(memoryview(voxels.view(np.uint8)), stream)  # type: ignore[arg-type]
        stream.finish(_CHUNK_BYTES)  # the checksum is compared at the end of the member
        return voxels, raw.digest()


def _fill(target: memoryview, source: GzipStream) -> None:
    position = 0
    while position < len(target):
        piece = source.read(min(len(target) - position, _CHUNK_BYTES))
        if not piece:
            raise EOFError
        target[position : position + len(piece)] = piece
        position += len(piece)


def _memory_map(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    with _HashedFile(file) as raw:
        digest = raw.digest()
    try:
        # copy-on-write: modified voxels are in memory only, and the file does not change
        voxels = np.memmap(file, header.dtype, "c", offset=header.offset, shape=(math.prod(header.shape),))
    except ValueError as error:  # the file was large enough when its header was read
        raise BadSourceFileError("the file shrank while it was read", remedy="Copy it again.") from error
    return np.asarray(voxels), digest


def _to_native_grey(flat: NDArray[Any], header: VolumeHeader) -> NDArray[Any]:
    """Convert voxels to native byte order, and invert them if the grey scaling has a negative slope."""
    native = header.dtype.newbyteorder("=")
    if header.dtype != native:
        flat = flat.byteswap(inplace=True).view(native)
    if header.negative_slope:
        np.negative(flat, out=flat) if native.kind == "f" else np.invert(flat, out=flat)
    return flat


def _check_grey(grey: NDArray[Any]) -> tuple[float, float, float]:
    """Check grey values and replace those that are not finite; return the lowest, the highest and the padding."""
    darkest, brightest, not_finite = grey_range(grey)
    if not_finite == grey.size:
        raise BadSourceFileError("all voxels are NaN or infinite", "finite grey values")
    if darkest == brightest:
        raise BadSourceFileError(f"all voxels are {darkest:g}", "different grey values")
    if not (MIN_GREY_RANGE <= brightest - darkest < math.inf):
        problem = f"grey values from {darkest:g} to {brightest:g}"
        raise BadSourceFileError(problem, f"a finite range of at least {MIN_GREY_RANGE:g}")
    if not_finite:
        replace_non_finite(grey, darkest)
    return float(darkest), float(brightest), float(darkest) if not_finite else -math.inf


class _HashedFile(io.RawIOBase):
    """A file that computes its SHA-256 while it is read."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        count = self._file.readinto(target) or 0
        self._hash.update(memoryview(target)[:count])
        return count

    def digest(self) -> str:
        """Read the rest of the file and return the SHA-256 of the whole file."""
        while self.read(_CHUNK_BYTES):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()
