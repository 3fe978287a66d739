"""The columns `spacing_x`, `spacing_y` and `spacing_z` of a manifest: edge lengths of a voxel in millimetres."""

from collections.abc import Mapping

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats.base import MAX_ZOOM_MM, MIN_ZOOM_MM, is_usable

SPACING_COLUMNS = ("spacing_x", "spacing_y", "spacing_z")


def parse_spacing(row: Mapping[str, str]) -> tuple[float, float, float] | None:
    """Return the voxel size of a row, or None if its cells are empty; a comma may separate decimals.

    Raises:
        BadSourceFileError: Only some of the cells are filled, or a cell is no length.
    """
    cells = [row.get(column, "") for column in SPACING_COLUMNS]
    if not any(cells):
        return None
    lengths = [_parse_length(column, cell) for column, cell in zip(SPACING_COLUMNS, cells, strict=True)]
    return lengths[0], lengths[1], lengths[2]


def _parse_length(column: str, cell: str) -> float:
    try:
        length = float(cell.replace(",", "."))
    except ValueError:
        length = 0.0
    if not is_usable(length):
        raise BadSourceFileError(
            f"{column} {cell[:40]!r}",
            f"the edge length of a voxel in mm, {MIN_ZOOM_MM:g} to {MAX_ZOOM_MM:g}, in each of "
            f"{', '.join(SPACING_COLUMNS)}",
        )
    return length
