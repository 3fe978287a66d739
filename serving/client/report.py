"""Reports of predictions: a table for the terminal, JSON and CSV for programs."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Column, Table

from serving.client.endpoint import SlicePrediction
from serving.protocol import OUTPUTS, Outputs
from serving.votes import SpecimenVote, specimen_votes

_COLUMNS = ("specimen", "file", "plane", "slices", "species", "confidence", "unknown", "error")
_UNKNOWN = "perhaps a species that the model was not trained on"


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


def votes_of(results: Sequence[SliceResult], classes: Sequence[str]) -> dict[str, SpecimenVote]:
    """Return the vote for each named specimen with at least one prediction; `classes` as in `specimen_votes`."""
    pairs = [(row.specimen, row.prediction) for row in results if row.specimen and row.prediction]
    if not pairs:
        return {}
    outputs = Outputs.from_values({name: [getattr(prediction, name) for _, prediction in pairs] for name in OUTPUTS})
    return specimen_votes([specimen for specimen, _ in pairs], outputs, classes)


def render(results: Sequence[SliceResult], report_format: str, classes: Sequence[str]) -> str:
    """Return the report in one of FORMATS, with a newline at its end."""
    return _RENDERERS[report_format](results, votes_of(results, classes))


def _as_table(results: Sequence[SliceResult], votes: Mapping[str, SpecimenVote]) -> str:
    slices = Table(Column("slice", overflow="fold"), "species", "confidence", "")
    for row in results:
        name = f"{row.file} ({row.plane})" if row.plane else row.file
        if row.prediction is None:
            slices.add_row(name, "rejected", "", row.error, style="red")
        else:
            remark = _UNKNOWN if row.prediction.unknown else ""
            slices.add_row(name, row.prediction.species, f"{row.prediction.confidence:.1%}", remark)
    specimens = Table(Column("specimen", overflow="fold"), "species", "confidence", "slices", "agreement", "")
    for specimen, vote in votes.items():
        agreement, remark = f"{vote.agreement:.0%}", _UNKNOWN if vote.unknown else ""
        cells = (f"{vote.confidence:.1%}", str(vote.slices), agreement, remark)
        specimens.add_row(specimen, vote.species, *cells)
    console = Console(markup=False, emoji=False)  # a file may be named scan[old].png
    with console.capture() as capture:
        console.print(slices)
        if votes:
            console.print(specimens)
    return capture.get()


def _as_json(results: Sequence[SliceResult], votes: Mapping[str, SpecimenVote]) -> str:
    slices = [
        {
            "file": row.file,
            **({"specimen": row.specimen} if row.specimen else {}),
            **({"plane": row.plane} if row.plane else {}),
            **(asdict(row.prediction) if row.prediction else {"error": row.error}),
        }
        for row in results
    ]
    specimens = [{"specimen": specimen, **asdict(vote)} for specimen, vote in votes.items()]
    return json.dumps({"slices": slices, "specimens": specimens}, indent=1) + "\n"


def _as_csv(results: Sequence[SliceResult], votes: Mapping[str, SpecimenVote]) -> str:
    """Return a row per slice, then a row per specimen; a specimen's row has its number of slices and no file."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for row in results:
        location = (row.specimen, row.file, row.plane, int(row.prediction is not None))
        writer.writerow((*location, *_cells(row.prediction), row.error))
    for specimen, vote in votes.items():
        writer.writerow((specimen, "", "", vote.slices, *_cells(vote), ""))
    return text.getvalue()


def _cells(row: SlicePrediction | SpecimenVote | None) -> tuple[str, str, str]:
    return (row.species, f"{row.confidence:.6f}", str(row.unknown).lower()) if row else ("", "", "")


_RENDERERS: dict[str, Callable[[Sequence[SliceResult], Mapping[str, SpecimenVote]], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
}
FORMATS = tuple(_RENDERERS)
