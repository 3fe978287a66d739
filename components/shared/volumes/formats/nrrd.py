"""NRRD volumes: `.nrrd`, and `.nhdr` with detached data files, as the format's definition describes them.

The header is parsed here: pynrrd decompresses data without a limit before their declared size can be checked.
"""

import re
from pathlib import Path

import numpy as np

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import (
    Encoding,
    Shape,
    VolumeHeader,
    Zooms,
    check_right_angles,
    choose_zooms,
    mm_per_unit_of,
    spatial_shape,
)
from components.shared.volumes.formats.text_header import (
    DataLayout,
    expand_pattern,
    find_data_file,
    locate_voxels,
    parse_numbers,
    parse_whole_numbers,
    read_first_bytes,
    split_lines,
)

_MAGIC = b"NRRD000"
_SPELLINGS = {"centering": "centers", "datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
_TYPES: dict[str, str] = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"),
    "float": "f4",
    "double": "f8",
}
_ENCODINGS: dict[str, Encoding] = {
    "raw": "raw",
    "gzip": "gzip",
    "gz": "gzip",
    "bzip2": "bzip2",
    "bz2": "bzip2",
}
_MAX_SKIPPED_LINES = 1000


def read_nrrd_header(file: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Read an NRRD header and check it against the sizes of the data files, without reading voxels.

    Raises:
        BadSourceFileError: The file is no NRRD volume or not three-dimensional, or its voxels cannot be read.
    """
    block = read_first_bytes(file)
    fields, names, end = _parse(block)
    axes, shape = _axes_and_shape(fields)
    dtype = _grey_type(fields)
    layout = _layout(fields, 0 if names else end)
    files = [find_data_file(file, name) for name in names] if names else [file]
    zooms, notes = choose_zooms(*_lengths(fields, axes), spacing_mm)
    segments = locate_voxels(files, shape, dtype.itemsize, layout)
    return VolumeHeader(shape, dtype, zooms, segments, notes=notes)


def nrrd_files(file: Path) -> list[Path]:
    """Return the file of a header and its data files."""
    _, names, _ = _parse(read_first_bytes(file))
    return [file, *(find_data_file(file, name) for name in names)]


def _parse(block: bytes) -> tuple[dict[str, str], list[str], int]:
    """Return the fields of a header, the names of the data files, and the position of data in the same file."""
    if not block.startswith(_MAGIC):
        raise BadSourceFileError("not an NRRD file", "a .nrrd or .nhdr volume", "Export the scan as NRRD or NIfTI.")
    blank = re.search(rb"\r?\n\r?\n", block)
    end = blank.end() if blank else len(block)
    lines = split_lines(block[: blank.start() if blank else end])[1:]
    fields: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, separator, value = line.partition(": ")
        if not separator or line.startswith("#") or ":=" in key:
            continue
        key = _key(key)
        fields[key] = value.strip()
        if key == "data file":
            if value.split()[:1] == ["LIST"]:
                return fields, [name.strip() for name in lines[number:] if name.strip()], end
            return fields | _parse_rest(lines[number:]), expand_pattern(value.strip()), end
    if not blank:
        raise BadSourceFileError("the header has no end", "a blank line in front of the data", "Copy it again.")
    return fields, [], end


def _parse_rest(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(": ") for line in lines if ": " in line and not line.startswith("#"))
    return {_key(key): value.strip() for key, _, value in pairs}


def _key(text: str) -> str:
    """Return the name of a field in lower case and in its first spelling of the format's definition."""
    name = text.strip().lower()
    return _SPELLINGS.get(name, name)


def _axes_and_shape(fields: dict[str, str]) -> tuple[list[int], Shape]:
    """Return the indices of the spatial axes, and their lengths; other axes of length 1 are dropped."""
    sizes = parse_whole_numbers(fields.get("sizes", ""), "sizes")
    if not sizes or min(sizes) < 1:
        raise BadSourceFileError(f"sizes {fields.get('sizes', '')[:60]!r}", "three positive lengths")
    axes = [axis for axis, size in enumerate(sizes) if size > 1] if len(sizes) > 3 else list(range(len(sizes)))
    return axes[:3], spatial_shape([sizes[axis] for axis in axes])


def _grey_type(fields: dict[str, str]) -> np.dtype[np.generic]:
    name, endian = fields.get("type", "").lower(), fields.get("endian", "").lower()
    if name not in _TYPES:
        raise BadSourceFileError(f"type {name[:40]!r}", "integers or floating point numbers of at most 64 bits")
    dtype = np.dtype(_TYPES[name])
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise BadSourceFileError(f"endian {endian[:20]!r}", "little or big", "Export the scan again.")
    return dtype.newbyteorder(">" if endian == "big" else "<")


def _layout(fields: dict[str, str], offset: int) -> DataLayout:
    name = fields.get("encoding", "").lower()
    if name not in _ENCODINGS:
        raise BadSourceFileError(f"encoding {name[:20]!r}", "raw, gzip or bzip2", "Export the scan again.")
    lines, offsets = (parse_whole_numbers(fields.get(key, "0"), key)[:1] for key in ("line skip", "byte skip"))
    skipped_lines, skipped_bytes = (*lines, 0)[0], (*offsets, 0)[0]
    is_at_end = skipped_bytes == -1 and name == "raw"
    if not 0 <= skipped_lines <= _MAX_SKIPPED_LINES or not (is_at_end or 0 <= skipped_bytes < 2**24):
        problem = f"line skip {skipped_lines} and byte skip {skipped_bytes}"
        raise BadSourceFileError(problem, "positions inside the file", "Export the scan again.")
    if is_at_end:
        return DataLayout("raw", -1)
    return DataLayout(_ENCODINGS[name], offset, skipped_lines, skipped_bytes)


def _lengths(fields: dict[str, str], axes: list[int]) -> tuple[list[float], float, str]:
    """Return the edge lengths of a voxel, none if the header has none, and their unit."""
    unit = _unit(fields, axes)
    if "space directions" in fields:
        return _lengths_of_directions(fields["space directions"], axes), mm_per_unit_of(unit), unit
    spacings = parse_numbers(fields.get("spacings", ""), "spacings")
    lengths = [abs(spacings[axis]) for axis in axes] if len(spacings) > max(axes) else []
    return ([] if any(np.isnan(lengths)) else lengths), mm_per_unit_of(unit), unit


def _unit(fields: dict[str, str], axes: list[int]) -> str:
    """Return the unit of the edge lengths, `mm` if the header has none; different units are joined by `and`."""
    texts = re.findall(r'"[^"]*"|[^\s"]+', fields.get("space units", fields.get("units", "")))
    if "space units" not in fields and len(texts) > max(axes):
        texts = [texts[axis] for axis in axes]
    units = dict.fromkeys(text.strip('" ?') for text in texts)
    return " and ".join(unit for unit in units if unit) or "mm"


def _lengths_of_directions(text: str, axes: list[int]) -> list[float]:
    directions = re.findall(r"\([^)]*\)|none", text)
    vectors = [directions[axis] for axis in axes] if len(directions) > max(axes) else []
    rows = [
        parse_numbers(vector.strip("()").replace(",", " "), "space directions")
        for vector in vectors
        if vector != "none"
    ]
    if len(rows) != 3 or any(len(row) != 3 for row in rows):
        return []
    columns = np.array(rows, np.float64).T
    lengths = np.linalg.norm(columns, axis=0)
    if not np.isfinite(lengths).all() or not lengths.all():
        return []
    check_right_angles(columns)
    return [float(length) for length in lengths]
