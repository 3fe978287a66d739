"""Pages of TIFF files: tifffile parses them; Pillow decodes those that are compressed or tiled, one at a time."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import Segment, format_shape

_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1
_UNCOMPRESSED = 1


@contextmanager
def open_tiff(file: Path) -> Iterator[Any]:
    """Yield a TIFF file, opened by tifffile.

    Raises:
        BadSourceFileError: The file cannot be read, in the block of the caller, too.
    """
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        with tifffile.TiffFile(file) as tiff:
            yield tiff
    except (BadSourceFileError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises errors of many types
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise BadSourceFileError(f"the TIFF file cannot be read ({reason})", "a complete file") from error


def page_shape(page: Any) -> tuple[int, int]:
    """Return the width and the height of a page in pixels."""
    return int(page.imagewidth), int(page.imagelength)


def page_type(page: Any) -> np.dtype[Any]:
    """Return the type of the pixels of a page in the byte order of the file.

    Raises:
        BadSourceFileError: The page is in colour, has a palette, or is of an unusual type.
    """
    if int(page.samplesperpixel) != 1 or int(page.photometric) not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        raise BadSourceFileError("slices in colour or with a palette", "grey slices", "Save them as grey TIFF files.")
    dtype = page.dtype
    if dtype is None or dtype.kind not in "iuf" or dtype.itemsize > 8 or int(page.bitspersample) != 8 * dtype.itemsize:
        raise BadSourceFileError(
            f"{page.bitspersample} bits a pixel", "8, 16, 32 or 64", "Save the slices with 8 or 16 bits."
        )
    if int(page.imagedepth) != 1:
        raise BadSourceFileError("a page of several layers", "one layer a page", "Save the scan as a TIFF stack.")
    if is_inverted(page) and dtype.kind != "u":
        raise BadSourceFileError("inverted slices of signed numbers", "black is zero", "Save the slices again.")
    return np.dtype(dtype).newbyteorder(page.parent.byteorder)


def is_inverted(page: Any) -> bool:
    """Return whether high values of a page are dark."""
    return int(page.photometric) == _WHITE_IS_ZERO


def is_plain(page: Any) -> bool:
    """Return whether the pixels of a page are stored row by row without compression."""
    return int(page.compression) == _UNCOMPRESSED and not page.is_tiled and int(page.fillorder) == 1


def check_page(page: Any, name: str, shape: tuple[int, int], dtype: np.dtype[Any], is_dark: bool) -> None:
    """Check that a page is as the first one of its volume.

    Raises:
        BadSourceFileError: It has another size or type.
    """
    if page_shape(page) != shape:
        raise BadSourceFileError(
            f"{name} has {format_shape(page_shape(page))} pixels", f"{format_shape(shape)}, as the first slice"
        )
    if page_type(page) != dtype or is_inverted(page) != is_dark:
        raise BadSourceFileError(f"{name} has pixels of {page_type(page)}", f"{dtype}, as the first slice")


def page_segments(file: Path, size: int, page: Any, number: int, nbytes: int) -> list[Segment]:
    """Return the parts of a file that contain the pixels of a page.

    Args:
        file: TIFF file.
        size: Size of the file in bytes.
        page: Page of the file.
        number: Number of the page, from 0.
        nbytes: Size of the page's pixels in bytes.

    Raises:
        BadSourceFileError: The page is not completely in the file.
    """
    if not is_plain(page):
        return [Segment(file, number, nbytes, "tiff page")]
    row_bytes = nbytes // int(page.imagelength)
    strip_bytes = min(nbytes, row_bytes * int(page.rowsperstrip)) if int(page.rowsperstrip) > 0 else nbytes
    offsets, lengths = page.dataoffsets, page.databytecounts
    if len(offsets) != len(lengths) or len(offsets) != math.ceil(nbytes / max(1, strip_bytes)):
        raise BadSourceFileError(f"page {number + 1} has {len(offsets)} strips", "as many as its rows need")
    segments = []
    for index, (offset, length) in enumerate(zip(offsets, lengths, strict=True)):
        expected_bytes = min(strip_bytes, nbytes - index * strip_bytes)
        if offset <= 0 or length < expected_bytes or offset + expected_bytes > size:
            raise BadSourceFileError(f"page {number + 1} is not complete", "all its rows", "Copy the file again.")
        segments.append(Segment(file, int(offset), expected_bytes))
    return _merge(segments)


def _merge(segments: list[Segment]) -> list[Segment]:
    """Merge segments that follow one another."""
    merged_segments = segments[:1]
    for segment in segments[1:]:
        last = merged_segments[-1]
        if last.offset + last.nbytes == segment.offset:
            merged_segments[-1] = Segment(last.file, last.offset, last.nbytes + segment.nbytes)
        else:
            merged_segments.append(segment)
    return merged_segments


class PageDecoder:
    """A decoder of pages that keeps the last file open. Use it as a context manager."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._image: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._image is not None:
            self._image.close()

    def decode(self, segment: Segment, dtype: np.dtype[Any], target: memoryview) -> None:
        """Decode a page into its part of a volume.

        Raises:
            BadSourceFileError: The page is damaged or its compression is unknown.
        """
        from PIL import Image

        try:
            if self._file != segment.file:
                self.__exit__()
                self._image, self._file = Image.open(segment.file, formats=("TIFF",)), segment.file
            self._image.seek(segment.offset)
            is_declared_size = math.prod(self._image.size) * dtype.itemsize == segment.nbytes
            pixels = np.asarray(self._image) if is_declared_size else None
        except MemoryError:
            raise
        except Exception as error:  # a damaged file raises errors of many types
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise BadSourceFileError(
                f"page {segment.offset + 1} cannot be decoded ({reason})",
                "a complete page with LZW, Deflate or no compression",
                "Save the slices without compression.",
            ) from error
        if pixels is None or pixels.ndim != 2 or pixels.dtype.newbyteorder("=") != dtype.newbyteorder("="):
            raise BadSourceFileError(
                f"a compressed page of {dtype.newbyteorder('=')}",
                "uint8, uint16 or float32 in compressed files",
                "Save the slices without compression.",
            )
        target[:] = pixels.astype(dtype).tobytes()
