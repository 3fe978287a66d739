"""Slices are kept where somebody asked for it, within a bound, and never in the way of events."""

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


def answered(seed: int) -> PendingEvent:
    said = {"model": "forams", "version": 1, "species": "Fallotia", "confidence": 0.5, "unknown": False}
    event = DriftEvent(id=f"number{seed}", time=1e9 + seed, specimen="a", descriptors={}, **said)
    return PendingEvent(event, noise(seed))


def record(recorder: EventRecorder, count: int) -> list[DriftEvent]:
    recorder.start()
    for seed in range(count):
        recorder.record(answered(seed))
    recorder.close()
    lines = [line for path in recorder.folder.glob("events-*.jsonl") for line in path.read_text().splitlines()]
    return [DriftEvent.of_line(line.encode(), "test") for line in lines]


def test_each_event_finds_its_slice_by_its_id_bit_by_bit(tmp_path: Path) -> None:
    kept = SliceArchive(tmp_path / "kept", 10**6)
    events = record(EventRecorder(tmp_path / "events", print, kept=kept), 5)
    for seed, event in enumerate(events):
        (path,) = (tmp_path / "kept").glob(f"*-{event.id}.png")
        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), noise(seed))
    assert not any("png" in event.to_line() for event in events)


def test_the_oldest_slices_make_room_also_for_those_after_a_restart(tmp_path: Path) -> None:
    one = SliceArchive(tmp_path, 10**6)
    one.keep("first", 1.0, noise(1))
    size = next(tmp_path.iterdir()).stat().st_size
    again = SliceArchive(tmp_path, round(3.5 * size))
    for seed in range(2, 6):
        again.keep(f"number{seed}", float(seed), noise(seed))
        assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 3.5 * size
    assert sorted(path.stem.split("-")[1] for path in tmp_path.iterdir()) == ["number3", "number4", "number5"]


def test_what_somebody_else_keeps_in_the_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "a-photograph.png").write_bytes(b"x" * 3_000)
    SliceArchive(tmp_path, 2_000).keep("first", 1.0, noise(1))
    assert (tmp_path / "a-photograph.png").is_file()


def test_a_disk_that_is_full_in_the_middle_of_an_image_leaves_none_of_it(tmp_path: Path) -> None:
    kept = SliceArchive(tmp_path, 10**6)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, unlimited[1]))  # a file takes no more, as a full disk would not
        with pytest.raises(OSError, match="File too large"):
            kept.keep("first", 1.0, noise(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_goes_away_is_said_once_and_events_go_on(tmp_path: Path) -> None:
    kept = SliceArchive(tmp_path / "kept", 10**6)
    (tmp_path / "kept").rmdir()
    said: list[str] = []
    assert len(record(EventRecorder(tmp_path / "events", said.append, kept=kept), 3)) == 3
    assert len(said) == 1
    assert "slices cannot be kept" in said[0]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"events": None}, "--keep_slices without --events"),
        ({"keep_slices_mb": 0}, "--keep_slices_mb 0"),
        ({"keep_slices": Path("/dev/null/kept")}, "cannot be used"),
    ],
)
def test_what_cannot_be_kept_is_refused_in_a_sentence(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    options = {"events": tmp_path / "events", "keep_slices": tmp_path / "kept", "keep_slices_mb": 1, **changes}
    with pytest.raises(BadConfigError, match=complaint):
        start_recorder(Namespace(**options), print)
