"""Checks of untrusted TIFF files before their decoding: pages, tags and tiles within bounds.

The directory is read here because Pillow reads all values of a directory when it opens the file: many tags may refer to
the same bytes and so need many times the memory of the file.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from components.shared.errors import BadImageError

MAX_TAGS, MAX_PAGES = 512, 64
_BYTES_OF_TYPE = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}
_TEXT = 2
_PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _WIDTH, _LENGTH, _DESCRIPTION, _TILE_WIDTH, _TILE_LENGTH, _DNG = 254, 256, 257, 270, 322, 323, 50706
_REDUCED, _TRANSPARENCY_MASK = 1, 4
_LARGEST_SMALL_TILE = 4096
_MAX_DESCRIPTION = 4096
_IMAGEJ_STACK = re.compile(rb"^ImageJ=.*?^images=(\d+)", re.DOTALL | re.MULTILINE)

_ONE_PAGE = "Save each page as a file of its own; a stack of slices belongs to the volumes."


@dataclass(frozen=True)
class _Directory:
    """The directory of a page.

    Attributes:
        numbers: First value of each tag with one integer.
        description: Text of the tag ImageDescription.
        value_bytes: Sum of the sizes of all values.
    """

    numbers: dict[int, int]
    description: bytes
    value_bytes: int


def is_tiff(contents: bytes) -> bool:
    """Return whether the content is a TIFF or BigTIFF file."""
    return contents.startswith(_PREFIXES)


def check_tiff(contents: bytes) -> None:
    """Check that a TIFF file has one page, and that reading its tags and tiles needs little more than its pixels.

    Pages that are reduced copies or masks of the first one do not count.

    Raises:
        BadImageError: The file has several pages, is a camera's raw file, or is damaged.
    """
    value_bytes, pages = 0, 0
    for number, directory in enumerate(_directories(contents)):
        value_bytes += directory.value_bytes
        kind = directory.numbers.get(_SUBFILE, 0)
        pages += number == 0 or not kind & (_REDUCED | _TRANSPARENCY_MASK)
        if value_bytes > len(contents) or number == MAX_PAGES:
            raise BadImageError("a TIFF file with too many tags", "values of at most the file's size", "Export it.")
        if number == 0:
            _check_first_page(directory)
    if pages > 1:
        raise BadImageError(f"a TIFF file of {pages} pages", "one page", _ONE_PAGE)


def _check_first_page(directory: _Directory) -> None:
    numbers = directory.numbers
    if _DNG in numbers or numbers.get(_SUBFILE, 0) & _REDUCED:
        remedy = "Develop it in a raw converter and export it as 16-bit TIFF or JPEG."
        raise BadImageError("a camera's raw file or a preview in TIFF format", "a picture", remedy)
    stack = _IMAGEJ_STACK.search(directory.description)
    if stack and int(stack[1][:9]) > 1:
        raise BadImageError(f"an ImageJ stack of {int(stack[1][:9])} images", "one page", _ONE_PAGE)
    for tile, side in ((_TILE_WIDTH, _WIDTH), (_TILE_LENGTH, _LENGTH)):
        if numbers.get(tile, 0) > max(numbers.get(side, 0), _LARGEST_SMALL_TILE):
            raise BadImageError(f"a TIFF file with tiles of {numbers[tile]} pixels", "at most the image", "Export it.")


def _directories(contents: bytes) -> Iterator[_Directory]:
    """Yield the directory of each page; an offset that was followed before ends the chain."""
    order = "<" if contents[:2] == b"II" else ">"
    is_big = contents[2:4] in (b"+\0", b"\0+")
    count_format, word = ("Q", "Q") if is_big else ("H", "I")
    entry = struct.Struct(f"{order}HH{word}{struct.calcsize(word)}s")
    try:
        (offset,) = struct.unpack_from(order + word, contents, struct.calcsize(word))
        offsets = set[int]()
        while offset and offset not in offsets:
            offsets.add(offset)
            (count,) = struct.unpack_from(order + count_format, contents, offset)
            if not 0 < count <= MAX_TAGS:
                raise BadImageError(f"a TIFF file with {count} tags", f"1 to {MAX_TAGS}", "Export it again.")
            start = offset + struct.calcsize(count_format)
            entries = [entry.unpack_from(contents, start + number * entry.size) for number in range(count)]
            yield _read_directory(contents, order, entries)
            (offset,) = struct.unpack_from(order + word, contents, start + count * entry.size)
    except struct.error as error:
        raise BadImageError("a truncated TIFF file", "a complete file", "Copy or export it again.") from error


def _read_directory(contents: bytes, order: str, entries: list[tuple[int, int, int, bytes]]) -> _Directory:
    numbers, description, value_bytes = dict[int, int](), b"", 0
    for tag, type_, count, value in entries:
        size = _BYTES_OF_TYPE.get(type_, 0) * count
        value_bytes += size if size > len(value) else 0
        if type_ in _INTEGERS and count == 1 and size <= len(value):
            (numbers[tag],) = struct.unpack_from(order + _INTEGERS[type_], value)
        elif tag == _DNG:
            numbers[tag] = 1
        elif tag == _DESCRIPTION and type_ == _TEXT and size > len(value):
            (start,) = struct.unpack(order + ("Q" if len(value) == 8 else "I"), value)
            description = contents[start : start + min(size, _MAX_DESCRIPTION)]
    return _Directory(numbers, description, value_bytes)
