"""Answers as a table for people, as JSON or CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Column, Table

from serving.client.endpoint import Prediction
from serving.protocol import OUTPUTS, Outputs
from serving.votes import Vote, specimen_votes

_COLUMNS = ("specimen", "file", "plane", "slices", "species", "confidence", "unknown", "error")
_UNKNOWN = "perhaps a species the model never saw"


@dataclass(frozen=True)
class AnsweredSlice:
    """A slice with what the endpoint says about it, or why it says nothing.

    Attributes:
        file: an image, or the volume that it was cut from.
        prediction: None for what was refused.
        error: why it was.
        specimen: whose slice it is, "" where nobody said.
        plane: of a slice that was cut from a volume, in words.
    """

    file: str
    prediction: Prediction | None
    error: str = ""
    specimen: str = ""
    plane: str = ""


def votes_of(answered: Sequence[AnsweredSlice], classes: Sequence[str]) -> dict[str, Vote]:
    """Returns the answer for each named specimen of which any slice was answered; `classes` as in `specimen_votes`."""
    told = [(row.specimen, row.prediction) for row in answered if row.specimen and row.prediction]
    if not told:
        return {}
    outputs = Outputs.of({name: [getattr(prediction, name) for _, prediction in told] for name in OUTPUTS})
    return specimen_votes([specimen for specimen, _ in told], outputs, classes)


def render(answered: Sequence[AnsweredSlice], form: str, classes: Sequence[str]) -> str:
    """Returns the answers in one of FORMATS, ending with a newline."""
    return _RENDERERS[form](answered, votes_of(answered, classes))


def _as_table(answered: Sequence[AnsweredSlice], votes: Mapping[str, Vote]) -> str:
    slices = Table(Column("slice", overflow="fold"), "species", "confidence", "")
    for row in answered:
        name = f"{row.file} ({row.plane})" if row.plane else row.file
        if row.prediction is None:
            slices.add_row(name, "refused", "", row.error, style="red")
        else:
            remark = _UNKNOWN if row.prediction.unknown else ""
            slices.add_row(name, row.prediction.species, f"{row.prediction.confidence:.1%}", remark)
    specimens = Table(Column("specimen", overflow="fold"), "species", "confidence", "slices", "of them so", "")
    for specimen, found in votes.items():
        agreement, remark = f"{found.agreement:.0%}", _UNKNOWN if found.unknown else ""
        cells = (f"{found.confidence:.1%}", str(found.slices), agreement, remark)
        specimens.add_row(specimen, found.species, *cells)
    console = Console(markup=False, emoji=False)  # a file may be named scan[old].png
    with console.capture() as captured:
        console.print(slices)
        if votes:
            console.print(specimens)
    return captured.get()


def _as_json(answered: Sequence[AnsweredSlice], votes: Mapping[str, Vote]) -> str:
    slices = [
        {
            "file": row.file,
            **({"specimen": row.specimen} if row.specimen else {}),
            **({"plane": row.plane} if row.plane else {}),
            **(asdict(row.prediction) if row.prediction else {"error": row.error}),
        }
        for row in answered
    ]
    specimens = [{"specimen": specimen, **asdict(found)} for specimen, found in votes.items()]
    return json.dumps({"slices": slices, "specimens": specimens}, indent=1) + "\n"


def _as_csv(answered: Sequence[AnsweredSlice], votes: Mapping[str, Vote]) -> str:
    """A row for each slice, then one for each specimen, which has no file and the number of its slices."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in answered:
        place = (row.specimen, row.file, row.plane, int(row.prediction is not None))
        writer.writerow((*place, *_cells(row.prediction), row.error))
    for specimen, found in votes.items():
        writer.writerow((specimen, "", "", found.slices, *_cells(found), ""))
    return text.getvalue()


def _cells(found: Prediction | Vote | None) -> tuple[str, str, str]:
    return (found.species, f"{found.confidence:.6f}", str(found.unknown).lower()) if found else ("", "", "")


_RENDERERS: dict[str, Callable[[Sequence[AnsweredSlice], Mapping[str, Vote]], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
FORMATS = tuple(_RENDERERS)
