"""The table of a manifest, as spreadsheet programs write it: CSV in several dialects and encodings, or a workbook."""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from components.ingest.sources.workbook import is_workbook, rows_of_workbook
from components.shared.errors import BadManifestError
from components.shared.progress import log

REQUIRED_COLUMNS = ("path", "species", "specimen")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_DELIMITERS = ",;\t"
_DELIMITER_LINE = re.compile(r'"?sep=([,;\t|])"?[,;\t]*\r?(?:\n|$)', re.IGNORECASE)
"""First line in which Excel finds the delimiter."""


def rows_of_table(content: bytes, address: str) -> Iterator[dict[str, str]]:
    """Yield the rows of a manifest by the lower-case names of its columns, without empty rows.

    Args:
        content: Content of the manifest.
        address: Address of the manifest, for messages.

    Raises:
        BadManifestError: The content is not a table with the required columns.
    """
    rows = rows_of_workbook(content, address) if is_workbook(content) else _rows_of_text(content, address)
    stripped_rows = ([cell.strip() for cell in cells] for cells in rows)
    filled_rows = (cells for cells in stripped_rows if any(cells))
    header = [name.lower() for name in next(filled_rows, [])]
    _check_header(header, address)
    yield from (dict(zip(header, cells, strict=False)) for cells in filled_rows)


def _rows_of_text(content: bytes, address: str) -> Iterator[list[str]]:
    text = _decode(content, address)
    delimiter_line = _DELIMITER_LINE.match(text)
    if delimiter_line:
        delimiter, text = delimiter_line[1], text[delimiter_line.end() :]
    else:
        delimiter = _delimiter(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from lines
    except csv.Error as error:
        raise BadManifestError(f"{address}, line {lines.line_num}: {error}", "comma-separated values") from error


def _decode(content: bytes, address: str) -> str:
    """Return the text of a manifest in UTF-8, in UTF-16 with its mark, or in Windows-1252, which Excel writes."""
    encoding = "utf-16" if content.startswith(_UTF16_MARKS) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        text = _decode_windows(content, address, error)
    if "\0" in text:
        raise BadManifestError(f"{address} contains NUL characters", "text", "Save it as CSV in UTF-8.")
    return text


def _decode_windows(content: bytes, address: str, utf_error: UnicodeDecodeError) -> str:
    try:
        text = content.decode("cp1252")
    except UnicodeDecodeError as error:
        raise BadManifestError(
            f"{address} is not UTF-8 ({utf_error.reason})", "text", "Save it as CSV in UTF-8."
        ) from error
    log("ingest", f"{address} is not UTF-8 and is read as Windows-1252; save it as CSV in UTF-8 if names are wrong")
    return text


def _delimiter(text: str) -> str:
    """Return the most frequent delimiter in the header: in many countries, spreadsheets write semicolons."""
    first_line = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return max(_DELIMITERS, key=first_line.count)


def _check_header(header: Sequence[str], address: str) -> None:
    missing_names = [name for name in REQUIRED_COLUMNS if name not in header]
    if missing_names:
        raise BadManifestError(
            f"{address} has the columns {', '.join(repr(name[:40]) for name in header[:8])}"
            if header
            else f"{address} is an empty file",
            f"path,species,specimen[,split]; {', '.join(missing_names)} missing",
        )
    repeated_names = [
        name for name, count in Counter(header).items() if count > 1 and name in (*REQUIRED_COLUMNS, "split", "mask")
    ]
    if repeated_names:
        raise BadManifestError(f"{address} has the column {repeated_names[0]!r} twice", "each column once")
