"""Answers as a table for people, as JSON or CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from serving.client.endpoint import Prediction

_COLUMNS = ("file", "species", "confidence", "unknown", "error")


@dataclass(frozen=True)
class AnsweredFile:
    """A file with what the endpoint says about it, or why it says nothing."""

    file: str
    prediction: Prediction | None
    error: str = ""


def render(answered: Sequence[AnsweredFile], form: str) -> str:
    """Returns the answers in one of FORMATS, ending with a newline."""
    return _RENDERERS[form](answered)


def _as_table(answered: Sequence[AnsweredFile]) -> str:
    table = Table("slice", "species", "confidence", "")
    for row in answered:
        if row.prediction is None:
            table.add_row(row.file, "refused", "", row.error, style="red")
        else:
            remark = "perhaps a species the model never saw" if row.prediction.unknown else ""
            table.add_row(row.file, row.prediction.species, f"{row.prediction.confidence:.1%}", remark)
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _as_json(answered: Sequence[AnsweredFile]) -> str:
    rows = [
        {"file": row.file, **(asdict(row.prediction) if row.prediction else {"error": row.error})} for row in answered
    ]
    return json.dumps(rows, indent=1) + "\n"


def _as_csv(answered: Sequence[AnsweredFile]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in answered:
        found = row.prediction
        cells = (found.species, f"{found.confidence:.6f}", str(found.unknown).lower()) if found else ("", "", "")
        writer.writerow((row.file, *cells, row.error))
    return text.getvalue()


_RENDERERS: dict[str, Callable[[Sequence[AnsweredFile]], str]] = {"table": _as_table, "json": _as_json, "csv": _as_csv}
FORMATS = tuple(_RENDERERS)
