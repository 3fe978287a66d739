"""The archive of slices: optional, bounded, and independent of drift events."""

import resource
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.shared.contracts import DriftEvent
from components.shared.errors import BadConfigError
from serving.drift_events import EventRecorder, PendingEvent, start_recorder
from serving.slice_archive import SliceArchive


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 255, (64, 64), dtype=np.uint8)


def pending_event(seed: int) -> PendingEvent:
    fields = {"model": "forams", "version": 1, "species": "Fallotia", "confidence": 0.5, "unknown": False}
    event = DriftEvent(id=f"number{seed}", time=1e9 + seed, specimen="a", descriptors={}, **fields)
    return PendingEvent(event, noise(seed))


def record(recorder: EventRecorder, count: int) -> list[DriftEvent]:
    recorder.start()
    for seed in range(count):
        recorder.record(pending_event(seed))
    recorder.close()
    lines = [line for path in recorder.folder.glob("events-*.jsonl") for line in path.read_text().splitlines()]
    return [DriftEvent.from_line(line.encode(), "test") for line in lines]


def test_the_archive_has_the_exact_slice_of_each_event(tmp_path: Path) -> None:
    archive = SliceArchive(tmp_path / "archive", 10**6)
    events = record(EventRecorder(tmp_path / "events", print, archive=archive), 5)
    for seed, event in enumerate(events):
        (path,) = (tmp_path / "archive").glob(f"*-{event.id}.png")
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), noise(seed))
    assert not any("png" in event.to_line() for event in events)


def test_the_oldest_slices_are_removed_also_after_a_restart(tmp_path: Path) -> None:
    one = SliceArchive(tmp_path, 10**6)
    one.add("first", 1.0, noise(1))
    size = next(tmp_path.iterdir()).stat().st_size
    again = SliceArchive(tmp_path, round(3.5 * size))
    for seed in range(2, 6):
        again.add(f"number{seed}", float(seed), noise(seed))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3.5 * size
    assert sorted(path.stem.split("-")[1] for path in tmp_path.iterdir()) == ["number3", "number4", "number5"]


def test_other_files_in_the_folder_stay(tmp_path: Path) -> None:
    (tmp_path / "a-photograph.png").write_bytes(b"x" * 3_000)
    SliceArchive(tmp_path, 2_000).add("first", 1.0, noise(1))
    assert (tmp_path / "a-photograph.png").is_file()


def test_an_image_truncated_by_a_full_disk_is_removed(tmp_path: Path) -> None:
    archive = SliceArchive(tmp_path, 10**6)
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, old_limit[1]))  # limit the size of a file, like a full disk
        with pytest.raises(OSError, match="File too large"):
            archive.add("first", 1.0, noise(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
    assert not list(tmp_path.iterdir())


def test_a_removed_folder_is_reported_once_and_events_are_written(tmp_path: Path) -> None:
    archive = SliceArchive(tmp_path / "archive", 10**6)
    (tmp_path / "archive").rmdir()
    messages: list[str] = []
    assert len(record(EventRecorder(tmp_path / "events", messages.append, archive=archive), 3)) == 3
    assert len(messages) == 1
    assert "slices cannot be written" in messages[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"events": None}, "--keep_slices without --events"),
        ({"keep_slices_mb": 0}, "--keep_slices_mb 0"),
        ({"keep_slices": Path("/dev/null/archive")}, "cannot be used"),
    ],
)
def test_invalid_options_of_the_archive_are_rejected(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    options = {"events": tmp_path / "events", "keep_slices": tmp_path / "archive", "keep_slices_mb": 1, **changes}
    with pytest.raises(BadConfigError, match=complaint):
        start_recorder(Namespace(**options), print)
