"""The recurring check as files: what one step of a pipeline leaves and the next one reads."""

import tempfile
from pathlib import Path

from components.shared.config import checked
from components.shared.contracts import DriftEvent
from components.shared.errors import BadConfigError
from components.shared.files import write_atomically
from components.shared.pages import page, paragraph
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import EventLog
from monitoring.drift.results import result_path
from monitoring.drift.sentences import counted
from monitoring.recurring.stored import StoredCheck, check_stored

DRIFTED_EVENTS = "events-drifted.jsonl"


def check(
    events: str,
    models: str,
    name: str,
    windows: int,
    window_slices: int,
    window_specimens: int,
    sustained_windows: int,
    seed: int,
) -> StoredCheck:
    """Judges the latest windows; the arguments are those of `monitoring.component.check_drift`.

    Raises:
        BadConfigError: a number that cannot work.
        BadInputError: no such model.
        ContractError: its reference cannot be read.
    """
    if not 1 <= sustained_windows <= windows <= 100:
        raise BadConfigError(
            f"windows {windows} and sustained_windows {sustained_windows}", "1 <= sustained_windows <= windows <= 100"
        )
    given = {
        "events": events,
        "repository": models,
        "out": tempfile.gettempdir(),
        "window_slices": window_slices,
        "window_specimens": window_specimens,
        "sustained_windows": sustained_windows,
        "seed": seed,
    }
    return check_stored(checked(MonitorConfig, given, "parameter"), name, windows)


def write_check(found: StoredCheck, folder: Path) -> None:
    """Writes each window's result, and the events of the windows in a row that drifted."""
    folder.mkdir(parents=True, exist_ok=True)
    for judgement in found.judgements:
        judgement.result.write(result_path(folder, judgement.result.name))
    lines = "".join(f"{event.to_line()}\n" for event in found.drifted_events)
    write_atomically(folder / DRIFTED_EVENTS, lines.encode())


def read_drifted(folder: Path) -> list[DriftEvent]:
    """Returns the events that `write_check` left."""
    return [item.event for item in EventLog(folder, {}, {}).read()]


def latest_report(found: StoredCheck) -> str:
    """Returns Evidently's report of the latest window as HTML, or a page that says there is too little data."""
    if found.judgements:
        return str(found.judgements[-1].snapshot.get_html_str(as_iframe=False))
    said = f"{counted(found.pending, 'slice')} of the version that answered last are stored, which fill no window yet."
    return page("Too little data to judge", [paragraph(said)])


def scores(found: StoredCheck) -> dict[str, float]:
    """Returns each feature's score over its threshold in the latest window, and how many windows drifted in a row."""
    latest = found.judgements[-1].result.features if found.judgements else ()
    ratios = {each.feature: each.ratio for each in latest}
    return {**ratios, "windows": float(len(found.judgements)), "drifted_in_a_row": float(found.in_a_row)}
