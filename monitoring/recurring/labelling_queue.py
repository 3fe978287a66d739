"""The labelling queue after drift: drifted slices, unknown ones first, then the least confident."""

import csv
import io
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import DriftEvent
from components.shared.files import write_atomically

TABLE, SLICES = "to_label.csv", "slices"
COLUMNS = ("id", "specimen", "predicted", "confidence", "unknown", "file", "species")


@dataclass(frozen=True)
class LabellingQueue:
    """The slices to label.

    Attributes:
        events: Drift events of the slices, most informative first.
        images: Number of slices with a stored image.
        available: Number of drifted slices that were available.
    """

    events: tuple[DriftEvent, ...]
    images: int
    available: int

    def proposal(self, model: str, retrain: bool) -> str:
        """Return a Markdown report with the next steps.

        Args:
            model: Name of the model.
            retrain: Whether a training run was started.
        """
        specimens = len({event.specimen for event in self.events})
        unknown = sum(event.unknown for event in self.events)
        next_step = (
            "A training run was started." if retrain else "Train again with the new specimens added to `volumes`."
        )
        without_image = len(self.events) - self.images
        missing_images = (
            f"\n{without_image} of them have no stored image: start the server with `--keep_slices DIR`, "
            "or find them by their specimens.\n"
            if without_image
            else ""
        )
        return (
            f"# {model}: sustained drift\n\n"
            f"Collected {len(self.events)} of {self.available} drifted slices, from {specimens} specimens; "
            f"{unknown} are predicted as unknown. `{TABLE}` lists them: unknown ones first, then the least "
            f"confident.\n{missing_images}\n"
            "1. Inspect the slices. Correct image faults at the source (`monitoring/alerting/runbook.md`), not by "
            "training.\n"
            "2. If the slices are valid, write their species into the column `species` and obtain the volumes of "
            "these specimens.\n"
            f"3. {next_step}\n"
        )


def select(events: Sequence[DriftEvent], max_slices: int, max_per_specimen: int) -> tuple[DriftEvent, ...]:
    """Select slices for labelling: unknown ones first, then in ascending order of confidence.

    Args:
        events: Events of drifted windows.
        max_slices: Largest number of slices.
        max_per_specimen: Largest number of slices of one specimen, because slices of one specimen are similar.
    """
    counts: Counter[str] = Counter()
    selection: list[DriftEvent] = []
    for event in sorted(events, key=lambda each: (not each.unknown, each.confidence, each.id)):
        if len(selection) < max_slices and counts[event.specimen] < max_per_specimen:
            counts[event.specimen] += 1
            selection.append(event)
    return tuple(selection)


def collect(
    events: Sequence[DriftEvent], stored_slices: Path, folder: Path, max_slices: int, max_per_specimen: int
) -> LabellingQueue:
    """Write `to_label.csv`, and `slices/` with the stored images of the selected slices.

    Args:
        events: Events of drifted windows.
        stored_slices: Folder of the server's `--keep_slices`; it need not exist.
        folder: Output folder.
        max_slices: Largest number of slices.
        max_per_specimen: Largest number of slices of one specimen.
    """
    selection = select(events, max_slices, max_per_specimen)
    paths = sorted(stored_slices.glob("*-*.png")) if stored_slices.is_dir() else []
    images = {path.stem.partition("-")[2]: path for path in paths}
    (folder / SLICES).mkdir(parents=True, exist_ok=True)
    files = {event.id: _copy_image(images.get(event.id), event, folder) for event in selection}
    rows = [_row(event, files[event.id]) for event in selection]
    write_atomically(folder / TABLE, _table(rows).encode())
    return LabellingQueue(selection, sum(bool(file) for file in files.values()), len(events))


def _copy_image(image: Path | None, event: DriftEvent, folder: Path) -> str:
    """Return the path of the copy in the folder; empty if there is no image or the server has deleted it."""
    file = f"{SLICES}/{event.id}.png"
    try:
        if image:
            shutil.copyfile(image, folder / file)
            return file
    except FileNotFoundError:
        pass
    return ""


def _row(event: DriftEvent, file: str) -> tuple[object, ...]:
    # Clients choose the specimen ids, and a spreadsheet would evaluate an id that starts like a formula.
    specimen = f"'{event.specimen}" if event.specimen.startswith(("=", "+", "-", "@", "\t", "\r")) else event.specimen
    return event.id, specimen, event.species, f"{event.confidence:.4f}", int(event.unknown), file, ""


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()
