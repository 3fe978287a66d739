"""Headers of lines of text, as in NRRD and MetaImage, and the data files that they name."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import MAX_DEFLATE_RATIO, Encoding, Segment, Shape, check_size
from components.shared.volumes.formats.voxels import READ_ERRORS, unreadable

MAX_HEADER_BYTES = 2**16
MAX_DATA_FILES = 2**16
_PATTERN = re.compile(r"([^%]*%\d{0,2}d[^%\s]*)\s+(-?\d{1,9})\s+(-?\d{1,9})(?:\s+(-?\d{1,9}))?(?:\s+\d{1,9})?")
"""Pattern, first, last and step. Of a file name of bounded length: an unlimited width of `%d` could need any memory."""


@dataclass(frozen=True)
class DataLayout:
    """The position of the voxels in one or several files.

    Attributes:
        encoding: Compression of each file.
        offset: Position in bytes of the data; -1 if they are at the end of the file.
        skipped_lines: Number of lines in front of the data.
        skipped_bytes: Number of bytes in front of the first voxel after decompression.
    """

    encoding: Encoding = "raw"
    offset: int = 0
    skipped_lines: int = 0
    skipped_bytes: int = 0


def read_first_bytes(file: Path) -> bytes:
    """Return the first MAX_HEADER_BYTES of a file.

    Raises:
        BadSourceFileError: The file is empty or cannot be read.
    """
    try:
        with file.open("rb") as stream:
            block = stream.read(MAX_HEADER_BYTES)
    except OSError as error:
        raise unreadable(error) from error
    if not block:
        raise BadSourceFileError("the file is empty", "a volume", "Copy it again.")
    return block


def split_lines(block: bytes) -> list[str]:
    """Return the lines of a header without their ends."""
    return [line.rstrip("\r") for line in block.decode("utf-8", "replace").split("\n")]


def parse_numbers(text: str, key: str) -> list[float]:
    """Return numbers that are separated by blanks.

    Raises:
        BadSourceFileError: The text contains anything else.
    """
    try:
        return [float(number) for number in text.split()]
    except ValueError as error:
        raise BadSourceFileError(f"{key} {text[:60]!r}", "numbers", "Export the scan again.") from error


def parse_whole_numbers(text: str, key: str) -> list[int]:
    """Return whole numbers that are separated by blanks.

    Raises:
        BadSourceFileError: The text contains anything else.
    """
    numbers = parse_numbers(text, key)
    if not all(math.isfinite(number) and number == int(number) for number in numbers):
        raise BadSourceFileError(f"{key} {text[:60]!r}", "whole numbers", "Export the scan again.")
    return [int(number) for number in numbers]


def expand_pattern(text: str) -> list[str]:
    """Return the names of data files that a pattern such as `slice%03d.raw 1 48 1` stands for; other text is one name.

    Raises:
        BadSourceFileError: The pattern stands for no file or for more than MAX_DATA_FILES.
    """
    pattern = _PATTERN.fullmatch(text)
    if not pattern:
        return [text]
    first, last, step = int(pattern[2]), int(pattern[3]), int(pattern[4] or 1)
    numbers = range(first, last + (1 if step > 0 else -1), step) if step else range(0)
    if not 0 < len(numbers) <= MAX_DATA_FILES:
        raise BadSourceFileError(f"data files {text[:80]!r}", "a pattern, first, last and step")
    return [pattern[1] % number for number in numbers]


def find_data_file(header_file: Path, name: str) -> Path:
    """Return the path of a data file that a header names.

    Raises:
        BadSourceFileError: The file is missing or is outside the folder of the header.
    """
    folder = header_file.parent
    try:
        file = (folder / name.replace("\\", "/")).resolve()
        is_inside = file.is_relative_to(folder.resolve())
        exists = is_inside and file.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise BadSourceFileError(f"the data file {name[:80]!r} cannot be read") from error
    if not is_inside:
        raise BadSourceFileError(
            f"the data file {name[:80]!r} is outside the folder of the header", "a file beside it", "Move it there."
        )
    if not exists:
        raise BadSourceFileError(
            f"the data file {name[:80]!r} does not exist", "a file beside the header", "Copy it there, too."
        )
    return file


def locate_voxels(files: Sequence[Path], shape: Shape, itemsize: int, layout: DataLayout) -> tuple[Segment, ...]:
    """Return the parts of files that contain the voxels, in equal shares, after a check of the files' sizes.

    Args:
        files: Data files in order.
        shape: Number of voxels along the three axes, the fastest first.
        itemsize: Size of a voxel in bytes.
        layout: Position of the voxels in each file.

    Raises:
        BadSourceFileError: The slices cannot be spread over the files, or a file is too small.
    """
    if len(files) not in (1, shape[2]):
        raise BadSourceFileError(f"{len(files)} data files", f"1 file or {shape[2]}, one for each slice")
    nbytes = math.prod(shape) * itemsize // len(files)
    return tuple(_locate(file, shape, nbytes, layout) for file in files)


def _locate(file: Path, shape: Shape, nbytes: int, layout: DataLayout) -> Segment:
    try:
        size = file.stat().st_size
        lines = _bytes_of_lines(file, layout)
    except READ_ERRORS as error:
        raise unreadable(error) from error
    offset = size - nbytes if layout.offset < 0 else layout.offset + lines
    declared_bytes = max(0, layout.offset) + layout.skipped_bytes + nbytes + lines
    check_size(shape, declared_bytes, size, size if layout.encoding == "raw" else size * MAX_DEFLATE_RATIO)
    if layout.encoding == "raw":
        return Segment(file, offset + layout.skipped_bytes, nbytes)
    return Segment(file, offset, nbytes, layout.encoding, layout.skipped_bytes)


def _bytes_of_lines(file: Path, layout: DataLayout) -> int:
    if not layout.skipped_lines:
        return 0
    with file.open("rb") as stream:
        stream.seek(max(0, layout.offset))
        return sum(len(stream.readline(MAX_HEADER_BYTES)) for _ in range(layout.skipped_lines))
