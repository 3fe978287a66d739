"""NIfTI volumes read with bounds: nothing is allocated that the file cannot hold, nothing is held twice.

Only single files (`.nii`, `.nii.gz`, NIfTI-1 and NIfTI-2) are read. nibabel interprets the header; the voxels are
memory-mapped, or unzipped straight into their array, because nibabel holds compressed volumes twice.
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
FEWEST_VOXELS = 8
MOST_VOXELS = 2**32
MOST_ANISOTROPIC = 64.0
SMALLEST_ZOOM_MM, LARGEST_ZOOM_MM = 1e-6, 1e3
SMALLEST_RANGE = 1e-290
"""Of grey values: of a smaller one the steps of a histogram vanish."""
_HEADERS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_MM_PER_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
_LARGEST_OFFSET = 16 * 2**20
_DEFLATE_LIMIT = 1032  # deflate cannot shrink bytes by more than this factor (zlib's technical details)
_CHUNK = 2**20


@dataclass(frozen=True)
class VolumeHeader:
    """What a file promises.

    Attributes:
        shape: voxels along the file's three axes, the fastest first.
        dtype: of the stored voxels, in the file's byte order.
        offset: where the voxels begin.
        zooms_mm: edge lengths of a voxel along the file's axes.
        inverted: whether the grey scaling has a negative slope.
        zipped: whether the file is compressed with gzip.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    zooms_mm: tuple[float, float, float]
    inverted: bool
    zipped: bool

    @property
    def size(self) -> int:
        """Bytes of the voxels."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Volume:
    """A volume in memory or mapped into it.

    Attributes:
        grey: [Z, Y, X] of the file's own type, C-contiguous; the file's positive scaling is not applied, since every
            threshold and window used here moves with it.
        zooms_mm: edge lengths of a voxel, float64 [3] along Z, Y, X.
        darkest: the lowest grey value.
        brightest: the highest grey value.
        digest: SHA-256 of the file.
    """

    grey: NDArray[Any]
    zooms_mm: NDArray[np.float64]
    darkest: float
    brightest: float
    digest: str


def read_header(file: Path) -> VolumeHeader:
    """Reads and checks a NIfTI header against the file's size, without reading voxels.

    Raises:
        BadSourceFileError: not a NIfTI volume, not three-dimensional, impossible zooms, or too many voxels.
    """
    try:
        with file.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            block = GzipStream(raw).read(540) if zipped else raw.read(540)
            size = os.fstat(raw.fileno()).st_size
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error
    header = _interpret(block, zipped)
    _check_promise(header, size)
    return header


def read_volume(file: Path) -> Volume:
    """Reads a volume: memory-mapped, or unzipped into an array of exactly its size.

    Voxels that are not finite take the lowest finite value.

    Raises:
        BadSourceFileError: as `read_header`; or the file is truncated or damaged, or all voxels are NaN or the same.
    """
    header = read_header(file)
    try:
        flat, digest = _unzip(file, header) if header.zipped else _map(file, header)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(error) from error
    except MemoryError as error:
        raise BadSourceFileError(
            f"its {header.size} bytes do not fit into memory", remedy="Use a larger machine."
        ) from error
    grey = _in_native_order(flat, header).reshape(header.shape[::-1])
    darkest, brightest = _checked_range(grey)
    return Volume(grey, np.array(header.zooms_mm[::-1], dtype=np.float64), darkest, brightest, digest)


def _unreadable(error: Exception) -> BadSourceFileError:
    if isinstance(error, EOFError):
        return BadSourceFileError("the file is truncated", "a whole gzip file", "Copy it again.")
    if isinstance(error, zlib.error):
        return BadSourceFileError(f"the file is damaged ({error})", "a whole gzip file", "Copy it again.")
    return BadSourceFileError(f"the file cannot be read ({getattr(error, 'strerror', None) or error})")


def _interpret(block: bytes, zipped: bool) -> VolumeHeader:
    if not block:
        raise BadSourceFileError("the file is empty", "a NIfTI volume")
    kind, order = _kind_and_order(block)
    header = kind(block[: kind.template_dtype.itemsize], endianness=order, check=False)
    shape = _three_dimensions(header)
    return VolumeHeader(
        shape=shape,
        dtype=_grey_type(header),
        offset=_offset(header),
        zooms_mm=_zooms(header),
        inverted=bool(float(header["scl_slope"]) < 0),
        zipped=zipped,
    )


def _kind_and_order(block: bytes) -> tuple[Any, str]:
    for size, kind in _HEADERS.items():
        for order, name in (("<", "little"), (">", "big")):
            if int.from_bytes(block[:4], name) == size and len(block) >= size:  # type: ignore[arg-type]
                magic = bytes(kind(block[:size], endianness=order, check=False)["magic"].tobytes())
                if magic.startswith((b"ni1", b"ni2")):
                    raise BadSourceFileError("a header without its voxels (.hdr of a pair)", "one .nii or .nii.gz file")
                if magic.startswith((b"n+1", b"n+2")):
                    return kind, order
    raise BadSourceFileError("not a NIfTI file", "a .nii or .nii.gz volume")


def _three_dimensions(header: Any) -> tuple[int, int, int]:
    dim = [int(length) for length in header["dim"]]
    shape = dim[1 : dim[0] + 1] if 1 <= dim[0] <= 7 else []
    if not shape or min(shape) < 1:
        raise BadSourceFileError(f"dimensions {dim}", "three positive lengths")
    if any(length > 1 for length in shape[3:]):
        raise BadSourceFileError(
            f"several frames or components ({_times(shape)})", "one frame", "Export a single volume."
        )
    if len(shape) < 3 or min(shape[:3]) == 1:
        raise BadSourceFileError(f"a flat image ({_times(shape)})", "a volume of three dimensions")
    if min(shape[:3]) < FEWEST_VOXELS:
        raise BadSourceFileError(f"{_times(shape[:3])} voxels", f"at least {FEWEST_VOXELS} along each axis")
    return shape[0], shape[1], shape[2]


def _times(shape: list[int]) -> str:
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
    found = float(header["vox_offset"])
    smallest = header.template_dtype.itemsize
    if not math.isfinite(found) or not (found == 0 or smallest <= found <= _LARGEST_OFFSET):
        raise BadSourceFileError(f"voxels at byte {found:g}", f"an offset of {smallest} to {_LARGEST_OFFSET} bytes")
    return int(found) or smallest + 4


def _zooms(header: Any) -> tuple[float, float, float]:
    unit = _MM_PER_UNIT.get(int(header["xyzt_units"]) & 7, 1.0)
    found = [float(zoom) for zoom in header["pixdim"][1:4]]
    zooms = [abs(zoom) * unit for zoom in found]
    if not all(math.isfinite(zoom) and SMALLEST_ZOOM_MM <= zoom <= LARGEST_ZOOM_MM for zoom in zooms):
        raise BadSourceFileError(
            f"zooms {', '.join(f'{zoom:g}' for zoom in found)}",
            f"voxels of {SMALLEST_ZOOM_MM:g} to {LARGEST_ZOOM_MM:g} mm",
            "Write the voxel size into the header.",
        )
    if max(zooms) > MOST_ANISOTROPIC * min(zooms):
        raise BadSourceFileError(
            f"voxels {max(zooms) / min(zooms):.0f} times as long as wide", f"at most {MOST_ANISOTROPIC:.0f}"
        )
    return zooms[0], zooms[1], zooms[2]


def _check_promise(header: VolumeHeader, file_size: int) -> None:
    most = file_size * _DEFLATE_LIMIT if header.zipped else file_size
    promised = header.offset + header.size
    if promised > most:
        raise BadSourceFileError(
            f"the header promises {promised} bytes and the file has {file_size}", "the whole volume", "Copy it again."
        )
    if math.prod(header.shape) > MOST_VOXELS:
        raise BadSourceFileError(
            f"{_times(list(header.shape))} voxels", f"at most {MOST_VOXELS}", "Crop or bin the volume."
        )


def _unzip(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    voxels = np.empty(math.prod(header.shape), dtype=header.dtype)
    with _HashedFile(file) as hashed:
        unzipped = GzipStream(hashed)
        _fill(memoryview(bytearray(header.offset)), unzipped)
        _fill(memoryview(voxels.view(np.uint8)), unzipped)  # type: ignore[arg-type]
        unzipped.finish(_CHUNK)  # the checksum is compared only when the end is reached
        return voxels, hashed.digest_of_whole()


def _fill(target: memoryview, source: GzipStream) -> None:
    done = 0
    while done < len(target):
        piece = source.read(min(len(target) - done, _CHUNK))
        if not piece:
            raise EOFError
        target[done : done + len(piece)] = piece
        done += len(piece)


def _map(file: Path, header: VolumeHeader) -> tuple[NDArray[Any], str]:
    with _HashedFile(file) as hashed:
        digest = hashed.digest_of_whole()
    try:
        # copy-on-write: the few voxels that must change take memory, the file stays as it is
        mapped = np.memmap(file, header.dtype, "c", offset=header.offset, shape=(math.prod(header.shape),))
    except ValueError as error:  # it was long enough when its header was read
        raise BadSourceFileError("the file shrank while it was read", remedy="Copy it again.") from error
    return np.asarray(mapped), digest


def _in_native_order(flat: NDArray[Any], header: VolumeHeader) -> NDArray[Any]:
    native = header.dtype.newbyteorder("=")
    if header.dtype != native:
        flat = flat.byteswap(inplace=True).view(native)
    if header.inverted:
        np.negative(flat, out=flat) if native.kind == "f" else np.invert(flat, out=flat)
    return flat


def _checked_range(grey: NDArray[Any]) -> tuple[float, float]:
    darkest, brightest, not_finite = grey_range(grey)
    if not_finite == grey.size:
        raise BadSourceFileError("all voxels are NaN or infinite", "grey values")
    if darkest == brightest:
        raise BadSourceFileError(f"all voxels are {darkest:g}", "grey values that differ")
    if not (SMALLEST_RANGE <= brightest - darkest < math.inf):
        raise BadSourceFileError(f"grey values from {darkest:g} to {brightest:g}", "values that can be compared")
    if not_finite:
        replace_non_finite(grey, darkest)
    return float(darkest), float(brightest)


class _HashedFile(io.RawIOBase):
    """A file whose bytes are hashed while they are read."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("rb", buffering=0)
        self._hash = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        count = self._file.readinto(target) or 0
        self._hash.update(memoryview(target)[:count])
        return count

    def digest_of_whole(self) -> str:
        """Reads what is left and returns the SHA-256 of the whole file."""
        while self.read(_CHUNK):
            pass
        return self._hash.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()
