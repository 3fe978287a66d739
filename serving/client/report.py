"""Reports of predictions: a table for the terminal, JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

from serving.client.endpoint import SlicePrediction
from serving.outputs import REQUIRED_OUTPUTS, Outputs
from serving.votes import ModelDescription, SpecimenVote, specimen_votes

_ANSWER_COLUMNS = ("species", "confidence", "unknown")
_COLUMNS = ("specimen", "file", "plane", "slices", *_ANSWER_COLUMNS, "error", "model", "unknown_score")
_WIDEST, _REMARK_CHARACTERS = 10_000, 20
MODEL_CHARACTERS = 12
"""Characters of a model's id in a report."""
_UNKNOWN = "unknown species? (one that the model was not trained on)"


Votes = Sequence[tuple[str, SpecimenVote]]
"""Specimens with their votes; a specimen has one for each model that classified slices of it."""


@dataclass(frozen=True)
class SliceResult:
    """A slice with its prediction or an error.

    Attributes:
        file: Path of the image, or of the volume that contains the slice.
        prediction: Prediction for the slice; None if the file was rejected.
        error: Reason of the rejection.
        specimen: Name of the specimen, "" if unknown.
        plane: Description of the plane of a slice of a volume.
    """

    file: str
    prediction: SlicePrediction | None
    error: str = ""
    specimen: str = ""
    plane: str = ""


def votes_of(results: Sequence[SliceResult], description: ModelDescription) -> list[tuple[str, SpecimenVote]]:
    """Return each named specimen with the vote on its predictions; `description` as in `specimen_votes`.

    A specimen has a vote for each model that predicted slices of it: in a rollout, these may be two.
    """
    pairs_of: dict[str, list[tuple[str, SlicePrediction]]] = {}
    for row in results:
        if row.specimen and row.prediction:
            pairs_of.setdefault(row.prediction.model, []).append((row.specimen, row.prediction))
    votes = [vote for pairs in pairs_of.values() for vote in _votes_by_model(pairs, description)]
    order = {specimen: number for number, specimen in enumerate(dict.fromkeys(row.specimen for row in results))}
    return sorted(votes, key=lambda vote: order[vote[0]])


def _votes_by_model(
    pairs: Sequence[tuple[str, SlicePrediction]], description: ModelDescription
) -> list[tuple[str, SpecimenVote]]:
    """Return each specimen with its vote, from predictions of one model."""
    has_scores = any(prediction.unknown_score is not None for _, prediction in pairs)
    names = (*REQUIRED_OUTPUTS, "model", *(("unknown_score",) if has_scores else ()))
    outputs = Outputs.from_values({name: [getattr(prediction, name) for _, prediction in pairs] for name in names})
    return list(specimen_votes([specimen for specimen, _ in pairs], outputs, description).items())


def render(results: Sequence[SliceResult], report_format: str, description: ModelDescription) -> str:
    """Return the report in one of FORMATS, with a newline at its end."""
    return _RENDERERS[report_format](results, votes_of(results, description))


def _as_table(results: Sequence[SliceResult], votes: Votes) -> str:
    slices = _table("slice", "species", "confidence", "model")
    for row in results:
        name = f"{row.file} ({row.plane})" if row.plane else row.file
        if row.prediction is None:
            slices.add_row(name, "rejected", "", "", row.error, style="red")
        else:
            remark = _UNKNOWN if row.prediction.unknown else ""
            confidence, model = f"{row.prediction.confidence:.1%}", _shortened(row.prediction.model)
            slices.add_row(name, row.prediction.species, confidence, model, remark)
    specimens = _table("specimen", "species", "confidence", "slices", "agreement", "model")
    for specimen, vote in votes:
        agreement, remark = f"{vote.agreement:.0%}", _UNKNOWN if vote.unknown else ""
        cells = (f"{vote.confidence:.1%}", str(vote.slices), agreement, _shortened(vote.model), remark)
        specimens.add_row(specimen, vote.species, *cells)
    return "".join(_drawn(table) for table in (slices, specimens) if table.rows)


def _table(*names: str) -> Table:
    """Return a table whose cells stay on one line, with a last column for a remark that may be wrapped."""
    return Table(*(Column(name, no_wrap=True) for name in names), Column("", max_width=1))


def _drawn(table: Table) -> str:
    """Return a table as text, which is wider than the terminal if its names and a short remark do not fit."""
    terminal = Console(markup=False, emoji=False)  # a file may be named scan[old].png
    width_of_cells = Measurement.get(terminal, terminal.options.update(width=_WIDEST), table).maximum - 1
    width = max(terminal.width, width_of_cells + _REMARK_CHARACTERS)
    table.columns[-1].max_width = width - width_of_cells
    console = Console(markup=False, emoji=False, width=width)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _as_json(results: Sequence[SliceResult], votes: Votes) -> str:
    slices = [
        {
            "file": row.file,
            **({"specimen": row.specimen} if row.specimen else {}),
            **({"plane": row.plane} if row.plane else {}),
            **(_document(row.prediction) if row.prediction else {"error": row.error}),
        }
        for row in results
    ]
    specimens = [{"specimen": specimen, **_document(vote)} for specimen, vote in votes]
    return json.dumps({"slices": slices, "specimens": specimens}, indent=1) + "\n"


def _document(row: SlicePrediction | SpecimenVote) -> dict[str, Any]:
    """Return a row as JSON, without what its model does not report."""
    fields = asdict(row) | {"model": row.model}
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _as_csv(results: Sequence[SliceResult], votes: Votes) -> str:
    """Return a row per slice, then a row per specimen; a specimen's row has its number of slices and no file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in results:
        location = (row.specimen, row.file, row.plane, int(row.prediction is not None))
        model = row.prediction.model if row.prediction else ""
        writer.writerow((*location, *_cells(row.prediction), row.error, model, _unknown_score(row.prediction)))
    for specimen, vote in votes:
        writer.writerow((specimen, "", "", vote.slices, *_cells(vote), "", vote.model, _unknown_score(vote)))
    return text.getvalue()


def _shortened(model: str) -> str:
    return model[:MODEL_CHARACTERS]


def _cells(row: SlicePrediction | SpecimenVote | None) -> tuple[str, str, str]:
    return (row.species, f"{row.confidence:.6f}", str(row.unknown).lower()) if row else ("", "", "")


def _unknown_score(row: SlicePrediction | SpecimenVote | None) -> str:
    return f"{row.unknown_score:.6g}" if row and row.unknown_score is not None else ""


_RENDERERS: dict[str, Callable[[Sequence[SliceResult], Votes], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
FORMATS = tuple(_RENDERERS)
