"""Windows: enough slices of enough specimens, each event once."""

import pandas as pd
import pytest

from components.shared.contracts import DriftEvent
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import EventAt
from monitoring.drift.windows import PendingWindow, Stream, Window
from tests.monitoring.drift_traffic import events_of


@pytest.fixture(scope="module")
def events(clean: pd.DataFrame) -> list[DriftEvent]:
    return events_of(clean)


def fill(pending: PendingWindow, events: list[DriftEvent], config: MonitorConfig) -> list[Window]:
    items = [EventAt(event, "events-1.jsonl", 1000 * number, False) for number, event in enumerate(events)]
    return [window for item in items if (window := pending.add(item, config))]


def test_a_window_is_complete_with_enough_slices_of_enough_specimens(
    events: list[DriftEvent], config: MonitorConfig
) -> None:
    windows = fill(PendingWindow(Stream("forams", 1)), events, config)
    assert len(windows) >= 5
    for window in windows:
        assert len(window.events) >= config.window_slices
        assert window.specimens >= config.window_specimens
    taken = [event.id for window in windows for event in window.events]
    assert taken == [event.id for event in events[: len(taken)]]
    assert [window.number for window in windows] == list(range(1, len(windows) + 1))


def test_many_slices_of_few_specimens_are_too_little(events: list[DriftEvent], config: MonitorConfig) -> None:
    one_specimen = [event.model_copy(update={"specimen": "the same"}) for event in events]
    pending = PendingWindow(Stream("forams", 1))
    assert fill(pending, one_specimen, config) == []
    assert pending.specimens == 1


def test_one_specimen_cannot_fill_the_memory(events: list[DriftEvent], config: MonitorConfig) -> None:
    few = config.model_copy(update={"specimen_slices": 30})
    one_specimen = [event.model_copy(update={"specimen": "the same"}) for event in events[:100]]
    pending = PendingWindow(Stream("forams", 1))
    fill(pending, one_specimen, few)
    assert (pending.slices, pending.left_out) == (30, 70)


def test_an_event_that_was_written_twice_counts_once(events: list[DriftEvent], config: MonitorConfig) -> None:
    pending = PendingWindow(Stream("forams", 1))
    fill(pending, [*events[:10], *events[:10]], config)
    assert (pending.slices, pending.duplicates) == (10, 10)


def test_a_pending_window_knows_where_it_began(events: list[DriftEvent], config: MonitorConfig) -> None:
    pending = PendingWindow(Stream("forams", 1))
    (window,) = fill(pending, events[:70], config)
    assert pending.begins == {"events-1.jsonl": 1000 * len(window.events)}
