"""What somebody shall label after drift: the drifted slices of which the model knows least."""

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
COLUMNS = ("id", "specimen", "answered", "confidence", "unknown", "file", "species")


@dataclass(frozen=True)
class Collected:
    """What was collected.

    Attributes:
        events: the slices, the most telling first.
        images: how many of them are there as images.
        drifted: how many slices there were to choose from.
    """

    events: tuple[DriftEvent, ...]
    images: int
    drifted: int

    def proposal(self, model: str, retraining: bool) -> str:
        """Returns Markdown for whoever decides about the next training."""
        specimens = len({event.specimen for event in self.events})
        unknown = sum(event.unknown for event in self.events)
        then = (
            "A training run was started." if retraining else "Then train again: `volumes` with the new specimens added."
        )
        without = (
            ""
            if self.images == len(self.events)
            else (
                f"\n{len(self.events) - self.images} of them are not kept as images: start the server with "
                "`--keep_slices DIR`, or find them by their specimens.\n"
            )
        )
        return (
            f"# {model}: the slices drifted for several windows\n\n"
            f"Collected {len(self.events)} of {self.drifted} drifted slices, from {specimens} specimens; "
            f"{unknown} were taken for unknown species. `{TABLE}` lists them, unknown ones first, then the least "
            f"confident.\n{without}\n"
            "1. Look at them: correct image faults at the source (`monitoring/alerting/runbook.md`), not by training.\n"
            "2. Where they are right, write the species into the column `species` and get these specimens' volumes.\n"
            f"3. {then}\n"
        )


def choose(events: Sequence[DriftEvent], most: int, most_of_specimen: int) -> tuple[DriftEvent, ...]:
    """Chooses slices: unknown ones first, then by growing confidence; slices of one specimen tell much the same.

    Args:
        events: of drifted windows.
        most: slices in all.
        most_of_specimen: slices of one specimen.
    """
    taken: Counter[str] = Counter()
    chosen: list[DriftEvent] = []
    for event in sorted(events, key=lambda each: (not each.unknown, each.confidence, each.id)):
        if len(chosen) < most and taken[event.specimen] < most_of_specimen:
            taken[event.specimen] += 1
            chosen.append(event)
    return tuple(chosen)


def collect(events: Sequence[DriftEvent], kept: Path, folder: Path, most: int, most_of_specimen: int) -> Collected:
    """Writes `to_label.csv`, and `slices/` with what the server kept of them.

    Args:
        events: of drifted windows.
        kept: the server's `--keep_slices`; it need not exist.
        folder: takes the files.
        most: as in `choose`.
        most_of_specimen: as in `choose`.
    """
    chosen = choose(events, most, most_of_specimen)
    images = {path.stem.partition("-")[2]: path for path in sorted(kept.glob("*-*.png"))} if kept.is_dir() else {}
    (folder / SLICES).mkdir(parents=True, exist_ok=True)
    files = {event.id: _copied(images.get(event.id), event, folder) for event in chosen}
    rows = [_row(event, files[event.id]) for event in chosen]
    write_atomically(folder / TABLE, _table(rows).encode())
    return Collected(chosen, sum(bool(file) for file in files.values()), len(events))


def _copied(image: Path | None, event: DriftEvent, folder: Path) -> str:
    """Returns the image's path in the folder, or nothing where the server has let it go."""
    file = f"{SLICES}/{event.id}.png"
    try:
        if image:
            shutil.copyfile(image, folder / file)
            return file
    except FileNotFoundError:
        pass
    return ""


def _row(event: DriftEvent, file: str) -> tuple[object, ...]:
    # Whoever sends slices names the specimens, and whoever labels opens the table in a program that computes.
    specimen = f"'{event.specimen}" if event.specimen.startswith(("=", "+", "-", "@", "\t", "\r")) else event.specimen
    return event.id, specimen, event.species, f"{event.confidence:.4f}", int(event.unknown), file, ""


def _table(rows: Sequence[tuple[object, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *rows])
    return text.getvalue()
