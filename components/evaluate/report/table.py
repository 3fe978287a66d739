"""A table of a report, with its cells as display text, Markdown, CSV and JSON."""

import csv
import io
import math
from dataclasses import dataclass

Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: Name of its CSV file and its key in JSON.
        header: Names of the columns; columns whose name ends in " %" contain shares of one.
        rows: Raw values.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_csv(self) -> str:
        """Return the table as CSV, shares as percentages, missing values empty."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.header)
        for row in self.rows:
            writer.writerow([_to_percentage(name, value) for name, value in zip(self.header, row, strict=True)])
        return text.getvalue()

    def records(self) -> list[dict[str, Cell | None]]:
        """Return the rows as JSON objects, shares as percentages, missing values as None."""
        return [
            {name: _none_if_nan(_to_percentage(name, value)) for name, value in zip(self.header, row, strict=True)}
            for row in self.rows
        ]

    def to_markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [self.header, ["---"] * len(self.header), *self.texts()]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def texts(self) -> list[list[str]]:
        """Return the cells as display text."""
        return [[cell_text(name, value) for name, value in zip(self.header, row, strict=True)] for row in self.rows]


def cell_text(column: str, value: Cell) -> str:
    """Return a value as display text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return percent(value) if column.endswith("%") else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share of one as a percentage; only one itself is 100 and only zero itself is 0."""
    if share is None or not math.isfinite(share):
        return "-"
    tenths = round(1000 * share)
    if 0 < share < 1:
        tenths = min(max(tenths, 1), 999)
    digits = f"{tenths / 10:.1f}" if tenths % 1000 else f"{tenths // 10}"
    return f"{digits}\N{NO-BREAK SPACE}%"


def _to_percentage(column: str, value: Cell) -> Cell:
    if isinstance(value, float) and column.endswith("%"):
        return round(100 * value, 4)
    return value


def _none_if_nan(value: Cell) -> Cell | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value
