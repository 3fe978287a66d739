"""The table of a manifest, as spreadsheet programs write it."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence

from components.shared.errors import BadManifestError

REQUIRED_COLUMNS = ("path", "species", "specimen")


def rows_of_table(content: bytes, address: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a manifest by the lower-case names of its columns, without empty rows.

    Args:
        content: Content of the manifest.
        address: Address of the manifest, for messages.

    Raises:
        BadManifestError: The content is not a table with the required columns.
    """
    text = _decode(content, address)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        _check_header(header, address)
        for cells in lines:
            if any(cell.strip() for cell in cells):
                yield dict(zip(header, (cell.strip() for cell in cells), strict=False))
    except csv.Error as error:
        raise BadManifestError(f"{address}, line {lines.line_num}: {error}", "comma-separated values") from error


def _decode(content: bytes, address: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadManifestError(
            f"{address} is not UTF-8 ({error.reason})", "text", "Save it as CSV in UTF-8."
        ) from error


def _delimiter(text: str) -> str:
    """Return the most frequent delimiter in the header: in many countries, spreadsheets write semicolons."""
    first_line = text.split("\n", 1)[0]
    return max(",;\t", key=first_line.count)


def _check_header(header: Sequence[str], address: str) -> None:
    missing_names = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing_names:
        raise BadManifestError(
            f"{address} has the columns {', '.join(map(repr, header[:8]))}"
            if header
            else f"{address} is an empty file",
            f"path,species,specimen[,split]; {', '.join(missing_names)} missing",
        )
    repeated_names = [
        name for name, count in Counter(header).items() if count > 1 and name in (*REQUIRED_COLUMNS, "split")
    ]
    if repeated_names:
        raise BadManifestError(f"{address} has the column {repeated_names[0]!r} twice", "each column once")
