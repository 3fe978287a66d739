"""Drift events of answered slices."""

import json
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from components.shared.contracts import DriftEvent
from components.shared.images.decoding import decode_image
from components.shared.images.descriptors import describe
from monitoring.drift.event_log import EventLog
from serving.drift_events import EventRecorder, PendingEvent, remove_oldest
from tests.waiting import wait_until

Body = Callable[..., dict[str, Any]]


def events_of(folder: Path) -> list[DriftEvent]:
    lines = [line for file in sorted(folder.glob("events-*.jsonl")) for line in file.read_text().splitlines()]
    return [DriftEvent.from_line(line.encode(), "a test") for line in lines]


def wait_for_events(folder: Path, specimen: str, count: int) -> list[DriftEvent]:
    def events() -> list[DriftEvent]:
        return [event for event in events_of(folder) if event.specimen == specimen]

    wait_until(lambda: len(events()) >= count)
    return events()


def pending_event(number: int = 0, pixels: Any = None) -> PendingEvent:
    event = DriftEvent(
        id=str(number),
        time=float(number),
        model="forams",
        version=1,
        specimen=f"specimen-{number}",
        species="fallotia",
        confidence=0.5,
        unknown=False,
        descriptors={},
        embedding=(0.25, -1.0),
    )
    return PendingEvent(event, np.full((16, 16), 9, np.uint8) if pixels is None else pixels)


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def recorder_of(tmp_path: Path, reports: list[str]) -> Callable[..., EventRecorder]:
    return lambda **limits: EventRecorder(tmp_path / "events", reports.append, **limits)


def test_each_answered_slice_leaves_an_event_with_the_answer(
    server: Any, raw_slices: list[bytes], segmented_slices: list[bytes], instances_of: Body
) -> None:
    before = time.time()
    body = instances_of(raw_slices[:3], "Orbitoides-3")
    rows = httpx.post(f"{server.url}/v1/models/forams:predict", json=body).json()["predictions"]
    events = wait_for_events(server.events, "Orbitoides-3", 3)
    assert len({event.id for event in events}) == 3
    for event, row, image in zip(events, rows, segmented_slices, strict=False):
        assert (event.model, event.version) == ("forams", 1)
        assert before <= event.time <= time.time()
        assert (event.species, event.unknown) == (row["species"], row["unknown"])
        assert event.confidence == pytest.approx(row["confidence"])
        assert event.embedding == pytest.approx(row["embedding"])
        assert event.descriptors == pytest.approx(describe(decode_image(image, 1)))


def test_slices_without_a_specimen_share_the_id_of_their_request(
    server: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    known_ids = {event.id for event in events_of(server.events)}
    for _ in range(2):
        httpx.post(f"{server.url}/v1/models/forams:predict", json=instances_of(raw_slices[:2]))
    wait_until(lambda: len(events_of(server.events)) == len(known_ids) + 4)
    new = [event.specimen for event in events_of(server.events) if event.id not in known_ids]
    assert sorted(new.count(specimen) for specimen in set(new)) == [2, 2]


def test_the_image_never_reaches_the_disk(server: Any, raw_slices: list[bytes], instances_of: Body) -> None:
    httpx.post(f"{server.url}/v1/models/forams:predict", json=instances_of(raw_slices[:1], "small"))
    wait_for_events(server.events, "small", 1)
    for file in server.events.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            assert len(line) < 2_000
            assert not {"image", "pixels", "b64"} & set(json.loads(line))


def test_a_rejected_request_leaves_no_event(server: Any, raw_slices: list[bytes], instances_of: Body) -> None:
    httpx.post(f"{server.url}/v1/models/forams:predict", json=instances_of([raw_slices[0], b"junk"], "refused"))
    httpx.post(f"{server.url}/v1/models/forams:predict", json=instances_of(raw_slices[:1], "after-it"))
    wait_for_events(server.events, "after-it", 1)
    assert "refused" not in {event.specimen for event in events_of(server.events)}


def test_queued_events_are_written_on_close(recorder_of: Any, tmp_path: Path) -> None:
    recorder = recorder_of()
    recorder.start()
    for number in range(500):
        recorder.record(pending_event(number))
    recorder.close()
    assert [event.specimen for event in events_of(tmp_path / "events")] == [
        f"specimen-{number}" for number in range(500)
    ]
    assert recorder.dropped == 0


def test_a_full_queue_drops_and_counts_events_without_blocking(recorder_of: Any, tmp_path: Path) -> None:
    recorder = recorder_of(max_events=10)
    for number in range(1_000):
        recorder.record(pending_event(number))  # no thread empties the queue yet, so blocking would never end
    assert recorder.dropped == 990
    recorder.start()
    recorder.close()
    assert len(events_of(tmp_path / "events")) == 10


def test_queued_pixels_are_bounded_in_bytes_until_they_are_written(recorder_of: Any, tmp_path: Path) -> None:
    recorder = recorder_of(max_bytes=1_000)
    large = np.full((20, 20), 9, np.uint8)
    for number in range(4):
        recorder.record(pending_event(number, large))
    assert recorder.dropped == 2
    recorder.start()
    wait_for_events(tmp_path / "events", "specimen-1", 1)
    recorder.record(pending_event(4, large))
    recorder.close()
    assert [event.specimen for event in events_of(tmp_path / "events")] == ["specimen-0", "specimen-1", "specimen-4"]


def test_an_unwritable_folder_is_reported_once_and_events_are_dropped(
    recorder_of: Any, tmp_path: Path, reports: list[str]
) -> None:
    recorder = recorder_of()
    recorder.start()
    (tmp_path / "events").rmdir()
    for number in range(200):
        recorder.record(pending_event(number))
    recorder.close()
    assert recorder.dropped == 200
    assert len(reports) == 1
    assert "cannot be written" in reports[0]


def test_a_line_truncated_by_a_full_disk_damages_no_later_event(
    recorder_of: Any, tmp_path: Path, reports: list[str]
) -> None:
    recorder = recorder_of()
    recorder.start()
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old_limit[1]))  # limit the size of a file, like a full disk
        for number in range(4):
            recorder.record(pending_event(number))
        wait_until(lambda: recorder.dropped == 4)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    recorder.record(pending_event(9))
    recorder.close()
    assert len(reports) == 1
    files = sorted((tmp_path / "events").iterdir())
    assert [file.stat().st_size == 1000 for file in files] == [True, False]
    assert not files[0].read_bytes().endswith(b"\n")
    log = EventLog(tmp_path / "events", {}, {})
    assert [item.event.specimen for item in log.read()][-1] == "specimen-9"
    assert log.corrupt_lines == 0


def test_events_of_many_threads_are_all_written_complete(recorder_of: Any, tmp_path: Path) -> None:
    recorder = recorder_of()
    recorder.start()
    threads = [
        threading.Thread(target=lambda start=start: [recorder.record(pending_event(start + n)) for n in range(100)])
        for start in range(0, 800, 100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recorder.close()
    assert {event.specimen for event in events_of(tmp_path / "events")} == {f"specimen-{n}" for n in range(800)}


def test_files_rotate_and_the_oldest_are_removed(recorder_of: Any, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    for _ in range(3):  # like after restarts: each recorder has its own files
        recorder = recorder_of(max_file_bytes=2_000, max_folder_bytes=60_000)
        recorder.start()
        for number in range(640):
            recorder.record(pending_event(number))
        recorder.close()
        sizes = [file.stat().st_size for file in folder.glob("*.jsonl")]
        largest_file = 2_000 + 64 * 1_000  # a batch is never split
        assert len(sizes) > 1
        assert sum(sizes) <= 60_000 + largest_file
    assert events_of(folder)[-1].specimen == "specimen-639"


def test_only_event_files_are_removed(tmp_path: Path) -> None:
    for number, name in enumerate(("events-a.jsonl", "notes.txt", "events-b.jsonl")):
        (tmp_path / name).write_text("x" * 100)
        os.utime(tmp_path / name, (number, number))
    remove_oldest(tmp_path, 100)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["events-b.jsonl", "notes.txt"]
