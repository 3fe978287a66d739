"""The table of a manifest in an Excel workbook (.xlsx), bounded in size before it is parsed."""

import datetime
import io
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

from components.shared.errors import BadManifestError

MAX_PARTS = 1000
MAX_PART_BYTES = 32 * 2**20
"""Limit of all uncompressed parts of a workbook together; enough for about 100,000 rows."""
MAX_ROWS, MAX_COLUMNS = 200_000, 64
_ZIP_MARK, _OLE_MARK = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_DOCTYPES = tuple("<!DOCTYPE".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
"""Marks of entity definitions, which could expand to any size; no spreadsheet program writes them."""
_REMEDY = "Save the sheet as CSV in UTF-8."


def is_workbook(content: bytes) -> bool:
    """Return whether the content of a file is that of a workbook, readable or not."""
    return content.startswith((_ZIP_MARK, _OLE_MARK))


def rows_of_workbook(content: bytes, address: str) -> Iterator[list[str]]:
    """Yield the rows of a workbook's first sheet as text; formulas have the values that were saved with them.

    Args:
        content: Content of the file.
        address: Address of the file, for messages.

    Raises:
        BadManifestError: The content is not a readable workbook, or it is too large.
    """
    if content.startswith(_OLE_MARK):
        problem = f"{address} is a workbook of Excel 97 or one with a password"
        raise BadManifestError(problem, "a .csv or an .xlsx without a password", _REMEDY)
    _check_parts(content, address)
    try:
        yield from _rows_of_first_sheet(content)
    except BadManifestError as error:
        raise BadManifestError(f"{address} has {error.problem}", "a smaller table", _REMEDY) from error
    except Exception as error:  # the parser raises many kinds for damaged parts
        problem = f"{address} cannot be read as a workbook ({type(error).__name__})"
        raise BadManifestError(problem, "an undamaged .xlsx", _REMEDY) from error


def _check_parts(content: bytes, address: str) -> None:
    """Check number, sizes and contents of the parts; the parts are read here up to their declared sizes."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            size = sum(part.file_size for part in parts)
            if len(parts) > MAX_PARTS or size > MAX_PART_BYTES:
                problem = f"{address} is a workbook of {len(parts)} parts and {size} uncompressed bytes"
                raise BadManifestError(problem, f"at most {MAX_PARTS} parts and {MAX_PART_BYTES} bytes", _REMEDY)
            if "xl/workbook.xml" not in archive.namelist():
                raise BadManifestError(f"{address} is an archive without a workbook", "a .csv or an .xlsx", _REMEDY)
            if any(mark in archive.read(part) for part in parts for mark in _DOCTYPES):
                raise BadManifestError(f"{address} is a workbook with a DOCTYPE", "one of Excel", _REMEDY)
    except BadManifestError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged, encrypted or unknown parts
        problem = f"{address} is a damaged archive ({type(error).__name__})"
        raise BadManifestError(problem, "an undamaged .xlsx", _REMEDY) from error


def _rows_of_first_sheet(content: bytes) -> Iterator[list[str]]:
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats and validations that are not read
        workbook = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()
        filled_rows = 0
        for cells in sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True):
            row = [_text_of_cell(value) for value in cells]
            if any(row):
                filled_rows += 1
                if filled_rows > MAX_ROWS:
                    raise BadManifestError(f"more than {MAX_ROWS} rows")
                yield row
        workbook.close()


def _text_of_cell(value: Any) -> str:
    """Return the value of a cell as text; a whole number has no decimal point."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return str(value)
