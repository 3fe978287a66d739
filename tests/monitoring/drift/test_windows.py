"""Windows: enough slices of enough specimens, each event once."""

import pandas as pd
import pytest

from components.shared.contracts import DriftEvent
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import LogEntry
from monitoring.drift.windows import PendingWindow, Stream, Window
from tests.monitoring.drift_traffic import events_of


@pytest.fixture(scope="module")
def events(clean: pd.DataFrame) -> list[DriftEvent]:
    return events_of(clean)


def fill(window: PendingWindow, events: list[DriftEvent], config: MonitorConfig) -> list[Window]:
    entries = [LogEntry(event, "events-1.jsonl", 1000 * number, False) for number, event in enumerate(events)]
    return [complete for entry in entries if (complete := window.add(entry, config))]


def test_a_window_is_complete_with_enough_slices_of_enough_specimens(
    events: list[DriftEvent], config: MonitorConfig
) -> None:
    windows = fill(PendingWindow(Stream("forams", 1)), events, config)
    assert len(windows) >= 5
    for window in windows:
        assert len(window.events) >= config.window_slices
        assert window.specimens >= config.window_specimens
    ids = [event.id for window in windows for event in window.events]
    assert ids == [event.id for event in events[: len(ids)]]
    assert [window.number for window in windows] == list(range(1, len(windows) + 1))


def test_the_share_of_unknown_specimens_rests_on_named_ones(events: list[DriftEvent]) -> None:
    flags = {"a": (True, True, False), "b": (False, False), "c": (True,), "request-1": (None, None)}
    flagged_events = [
        events[0].model_copy(update={"specimen": name, "specimen_unknown": flag})
        for name, of_specimen in flags.items()
        for flag in of_specimen
    ]
    assert Window(Stream("forams", 1), 1, tuple(flagged_events)).unknown_specimen_ratio() == pytest.approx(2 / 3)
    assert Window(Stream("forams", 1), 1, tuple(flagged_events[-2:])).unknown_specimen_ratio() is None


def test_many_slices_of_few_specimens_complete_no_window(events: list[DriftEvent], config: MonitorConfig) -> None:
    one_specimen = [event.model_copy(update={"specimen": "one"}) for event in events]
    window = PendingWindow(Stream("forams", 1))
    assert fill(window, one_specimen, config) == []
    assert window.specimens == 1


def test_slices_beyond_the_limit_of_a_specimen_are_skipped(events: list[DriftEvent], config: MonitorConfig) -> None:
    few = config.model_copy(update={"max_slices_per_specimen": 30})
    one_specimen = [event.model_copy(update={"specimen": "one"}) for event in events[:100]]
    window = PendingWindow(Stream("forams", 1))
    fill(window, one_specimen, few)
    assert (window.slices, window.skipped_slices) == (30, 70)


def test_a_duplicate_event_counts_once(events: list[DriftEvent], config: MonitorConfig) -> None:
    window = PendingWindow(Stream("forams", 1))
    fill(window, [*events[:10], *events[:10]], config)
    assert (window.slices, window.duplicates) == (10, 10)


def test_a_pending_window_has_the_offset_of_its_first_event(events: list[DriftEvent], config: MonitorConfig) -> None:
    window = PendingWindow(Stream("forams", 1))
    (complete,) = fill(window, events[:70], config)
    assert window.start_offsets == {"events-1.jsonl": 1000 * len(complete.events)}
