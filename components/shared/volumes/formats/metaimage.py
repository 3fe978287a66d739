"""MetaImage volumes: `.mha`, and `.mhd` with detached data files, as ITK writes them.

The header is parsed here: SimpleITK allocates the declared size before it compares it with that of the file.
"""

from pathlib import Path

import numpy as np

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import (
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

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_LOCAL = ("local", "")


def read_metaimage_header(file: Path, spacing_mm: Zooms | None) -> VolumeHeader:
    """Read a MetaImage header and check it against the sizes of the data files, without reading voxels.

    Raises:
        BadSourceFileError: The file is no MetaImage volume or not three-dimensional, or its voxels cannot be read.
    """
    fields, names, end = _parse(read_first_bytes(file))
    sizes = parse_whole_numbers(fields.get("dimsize", ""), "DimSize")
    if not sizes or min(sizes) < 1:
        raise BadSourceFileError(f"DimSize {fields.get('dimsize', '')[:60]!r}", "three positive lengths")
    channels = parse_whole_numbers(fields.get("elementnumberofchannels", "1"), "ElementNumberOfChannels")
    shape = spatial_shape([*sizes, *channels])
    dtype = _grey_type(fields)
    layout = _layout(fields, 0 if names else end)
    files = [find_data_file(file, name) for name in names] if names else [file]
    zooms, notes = choose_zooms(*_lengths(fields), spacing_mm)
    return VolumeHeader(shape, dtype, zooms, locate_voxels(files, shape, dtype.itemsize, layout), notes=notes)


def metaimage_files(file: Path) -> list[Path]:
    """Return the file of a header and its data files."""
    return [file, *(find_data_file(file, name) for name in _parse(read_first_bytes(file))[1])]


def _parse(block: bytes) -> tuple[dict[str, str], list[str], int]:
    """Return the fields of a header, the names of the data files, and the position of data in the same file."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(block):
        stop = block.find(b"\n", position)
        stop = len(block) if stop < 0 else stop
        key, separator, value = block[position:stop].decode("utf-8", "replace").partition("=")
        position = stop + 1
        if not separator or len(key) > 60:
            break
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields, _data_files(value.strip(), split_lines(block[position:])), position
    if "ndims" in fields or "dimsize" in fields:
        raise BadSourceFileError("the header has no ElementDataFile", "the name of the data file", "Copy it again.")
    raise BadSourceFileError("not a MetaImage file", "a .mha or .mhd volume", "Export the scan as MetaImage or NIfTI.")


def _data_files(value: str, lines: list[str]) -> list[str]:
    """Return the names of the data files; none if the data are in the file of the header."""
    if value.lower() in _LOCAL:
        return []
    if value.split()[0] == "LIST":
        return [line.strip() for line in lines if line.strip()]
    return expand_pattern(value)


def _grey_type(fields: dict[str, str]) -> np.dtype[np.generic]:
    name = fields.get("elementtype", "").upper()
    if name not in _TYPES:
        raise BadSourceFileError(f"ElementType {name[:40]!r}", "integers or floating point numbers of at most 64 bits")
    is_big = _is_true(fields.get("elementbyteordermsb", fields.get("binarydatabyteordermsb", "False")))
    return np.dtype(_TYPES[name]).newbyteorder(">" if is_big else "<")


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "t", "yes")


def _layout(fields: dict[str, str], offset: int) -> DataLayout:
    if not _is_true(fields.get("binarydata", "True")):
        raise BadSourceFileError("voxels as text", "binary data", "Export the scan again.")
    is_compressed = _is_true(fields.get("compresseddata", "False"))
    sizes = parse_whole_numbers(fields.get("headersize", "0"), "HeaderSize")
    header_size = sizes[0] if len(sizes) == 1 else 0
    if header_size == -1 and not is_compressed:
        return DataLayout("raw", -1)
    if not 0 <= header_size < 2**24:
        raise BadSourceFileError(f"HeaderSize {header_size}", "a position inside the file", "Export the scan again.")
    return DataLayout("zlib" if is_compressed else "raw", header_size or offset)


def _lengths(fields: dict[str, str]) -> tuple[list[float], float, str]:
    """Return the edge lengths of a voxel, none if the header has none, and their unit."""
    unit = fields.get("distanceunits", "").strip('" ?') or "mm"
    lengths = parse_numbers(fields.get("elementspacing", fields.get("elementsize", "")), "ElementSpacing")[:3]
    matrix = parse_numbers(fields.get("transformmatrix", ""), "TransformMatrix")
    if len(matrix) == 9 and np.isfinite(matrix).all() and np.linalg.norm(np.reshape(matrix, (3, 3)), axis=1).all():
        check_right_angles(np.reshape(np.array(matrix, np.float64), (3, 3)).T)
    return [abs(length) for length in lengths] if len(lengths) == 3 else [], mm_per_unit_of(unit), unit
