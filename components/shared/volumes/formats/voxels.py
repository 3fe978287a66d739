"""Bounded reading of voxels: no allocation beyond their declared size, and no second copy of them.

Voxels of one uncompressed file are memory-mapped; all others are read or decompressed into their array, piece by piece.
"""

import hashlib
import math
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import Segment, VolumeHeader
from components.shared.volumes.formats.bzip2_stream import Bzip2Stream
from components.shared.volumes.formats.gzip_stream import ANY_WBITS, GzipStream
from components.shared.volumes.formats.tiff_pages import PageDecoder
from components.shared.volumes.histograms import grey_range, replace_non_finite

MIN_GREY_RANGE = 1e-290
"""Smallest range of grey values: the bins of a histogram of a smaller range underflow."""
READ_ERRORS = (OSError, EOFError, zlib.error)
_CHUNK_BYTES = 2**20


class ByteStream(Protocol):
    """Content in pieces of bounded size."""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer only at the end."""


def unreadable(error: Exception) -> BadSourceFileError:
    """Return the error of a file that cannot be read or decompressed."""
    if isinstance(error, EOFError):
        return BadSourceFileError("the file is truncated", "a complete file", "Copy it again.")
    if isinstance(error, zlib.error):
        return BadSourceFileError(f"the file is damaged ({error})", "a complete file", "Copy it again.")
    problem = f"the file cannot be read ({getattr(error, 'strerror', None) or error})"
    return BadSourceFileError(problem, remedy="Check the file and its permissions.")


def digest_of(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the content of files, one after the other."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb", buffering=0) as content:
            while piece := content.read(_CHUNK_BYTES):
                digest.update(piece)
    return digest.hexdigest()


def read_segments(header: VolumeHeader) -> NDArray[Any]:
    """Return the voxels of a volume in the order and type of the file.

    Raises:
        BadSourceFileError: The file shrank while it was read.
        EOFError: A file is truncated.
        OSError: A file cannot be read.
        zlib.error: The compressed data are damaged.
    """
    if len(header.segments) == 1 and header.segments[0].encoding == "raw":
        return _memory_map(header, header.segments[0])
    voxels = np.empty(math.prod(header.shape), dtype=header.dtype)
    target, position = memoryview(voxels.view(np.uint8)), 0  # type: ignore[arg-type]
    with PageDecoder() as decoder:
        for segment in header.segments:
            part = target[position : position + segment.nbytes]
            if segment.encoding == "tiff page":
                decoder.decode(segment, header.dtype, part)
            else:
                _read_segment(segment, part)
            position += segment.nbytes
    return voxels


def _memory_map(header: VolumeHeader, segment: Segment) -> NDArray[Any]:
    try:
        # copy-on-write: modified voxels are in memory only, and the file does not change
        shape = (math.prod(header.shape),)
        voxels = np.memmap(segment.file, header.dtype, "c", offset=segment.offset, shape=shape)
    except ValueError as error:  # the file was large enough when its header was read
        raise BadSourceFileError("the file shrank while it was read", remedy="Copy it again.") from error
    return np.asarray(voxels)


def _read_segment(segment: Segment, target: memoryview) -> None:
    with segment.file.open("rb", buffering=0) as file:
        file.seek(segment.offset)
        if segment.encoding == "raw":
            fill(target, file)
        else:
            _decompress(segment, file, target)


def _twice_compressed(source: Any) -> GzipStream:
    return GzipStream(GzipStream(source))


def _zlib(source: Any) -> GzipStream:
    return GzipStream(source, ANY_WBITS)


_STREAMS: dict[str, Callable[[Any], GzipStream | Bzip2Stream]] = {
    "gzip": GzipStream,
    "gzip in gzip": _twice_compressed,
    "zlib": _zlib,
    "bzip2": Bzip2Stream,
}


def _decompress(segment: Segment, file: BinaryIO | Any, target: memoryview) -> None:
    stream = _STREAMS[segment.encoding](file)
    fill(memoryview(bytearray(segment.skipped_bytes)), stream)
    fill(target, stream)
    stream.finish(_CHUNK_BYTES)  # the checksum is compared at the end of the member


def fill(target: memoryview, source: ByteStream) -> None:
    """Read exactly as many bytes as the target has.

    Raises:
        EOFError: The source has fewer bytes.
    """
    position = 0
    while position < len(target):
        piece = source.read(min(len(target) - position, _CHUNK_BYTES))
        if not piece:
            raise EOFError
        target[position : position + len(piece)] = piece
        position += len(piece)


def to_native_grey(flat: NDArray[Any], header: VolumeHeader) -> NDArray[Any]:
    """Convert voxels to native byte order, and invert them if high values are dark."""
    native = header.dtype.newbyteorder("=")
    if header.dtype != native:
        flat = flat.byteswap(inplace=True).view(native)
    if header.is_inverted:
        np.negative(flat, out=flat) if native.kind == "f" else np.invert(flat, out=flat)
    return flat


def check_grey(grey: NDArray[Any]) -> tuple[float, float, float]:
    """Check grey values and replace those that are not finite; return the lowest, the highest and the padding.

    Raises:
        BadSourceFileError: All voxels are NaN or equal, or their range is not finite.
    """
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
