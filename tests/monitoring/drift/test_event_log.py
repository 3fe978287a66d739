"""Drift events: each complete line is read once, and nothing else."""

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.shared.contracts import CRC_FIELD_BYTES, DriftEvent
from monitoring.drift.event_log import MAX_LINE_BYTES, EventLog
from tests.monitoring.drift_traffic import append_events, events_of

FIXTURE = Path(__file__).parents[2] / "fixtures" / "drift-events-0.1.0"


@pytest.fixture(scope="module")
def lines(clean: pd.DataFrame) -> list[bytes]:
    return [event.to_line().encode() + b"\n" for event in events_of(clean.head(6))]


def ids(log: EventLog) -> list[str]:
    return [entry.event.id for entry in log.read()]


def id_of(line: bytes) -> str:
    return DriftEvent.from_line(line.rstrip(), "a test").id


def with_checksum(line: bytes, pattern: bytes, replacement: bytes) -> bytes:
    """Change a line and its checksum."""
    body, changes = re.subn(pattern, replacement, line.rstrip()[:-CRC_FIELD_BYTES])
    assert changes == 1
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def test_a_folder_that_does_not_exist_yet_has_no_events(tmp_path: Path) -> None:
    assert ids(EventLog(tmp_path / "later", {}, {})) == []


def test_an_incomplete_line_is_read_once_when_it_is_complete(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(lines[0] + lines[1][:100])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(lines[0])]
    path.write_bytes(lines[0] + lines[1])
    assert ids(log) == [id_of(lines[1])]
    assert ids(log) == []
    assert log.corrupt_lines == 0


def test_a_log_truncated_at_any_byte_has_exactly_its_complete_lines(tmp_path: Path, lines: list[bytes]) -> None:
    whole = b"".join(lines[:3])
    ends = [sum(map(len, lines[:count])) for count in range(4)]
    path = tmp_path / "events-1.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = [id_of(line) for line, end in zip(lines[:3], ends[1:], strict=True) if end <= cut]
        assert ids(EventLog(tmp_path, {}, {})) == complete


def test_a_log_followed_from_any_byte_loses_and_repeats_nothing(tmp_path: Path, lines: list[bytes]) -> None:
    whole, path = b"".join(lines[:2]), tmp_path / "events-1.jsonl"
    for cut in range(len(whole) + 1):
        path.unlink(missing_ok=True)
        path.write_bytes(whole[:cut])
        log = EventLog(tmp_path, {}, {})
        before = ids(log)
        with path.open("ab") as file:
            file.write(whole[cut:])
        assert before + ids(EventLog(tmp_path, log.positions, {})) == [id_of(line) for line in lines[:2]]
        assert log.corrupt_lines == log.replaced_files == 0


def test_a_flipped_byte_is_counted_and_affects_no_other_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    for position in range(len(lines[1])):
        damage = lines[1][:position] + bytes([lines[1][position] ^ 0x04]) + lines[1][position + 1 :]
        path.write_bytes(lines[0] + damage + lines[2] + lines[3])
        log = EventLog(tmp_path, {}, {})
        lost_end = position == len(lines[1]) - 1  # merges two lines
        assert ids(log) == [id_of(line) for line in (lines[0], *(() if lost_end else lines[2:3]), lines[3])]
        assert log.corrupt_lines >= 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"{broken\n",
        lambda _: b"\n",
        lambda _: b"\xff\xfe\x00\n",
        lambda _: b"[1, 2]\n",
        lambda line: with_checksum(line, b"drift-event/2", b"drift-event/9"),
        lambda line: with_checksum(line, rb'"confidence":[^,]+', b'"confidence":NaN'),
        lambda line: with_checksum(line, rb'"entropy":[^,]+', b'"entropy":1e300'),
        lambda line: with_checksum(line, rb'"time":[^,]+', b'"time":1e300'),
        lambda line: with_checksum(line, rb'"version"', b'"image":"AAAA","version"'),
        lambda _: b"[" * 100_000 + b"\n",
        lambda _: b"x" * (MAX_LINE_BYTES * 20) + b"\n",
        lambda _: b'{"specimen":"' + b"x" * MAX_LINE_BYTES + b'"}\n',
    ],
    ids=[
        "not JSON",
        "empty",
        "not UTF-8",
        "not an object",
        "another schema",
        "not a number",
        "a number out of range",
        "a time out of range",
        "an unknown key",
        "deeply nested",
        "megabytes",
        "overlong",
    ],
)
def test_a_damaged_line_is_counted_and_its_neighbours_are_read(
    tmp_path: Path, lines: list[bytes], damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "events-1.jsonl").write_bytes(lines[0] + damage(lines[1]) + lines[2])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(lines[0]), id_of(lines[2])]
    assert log.corrupt_lines == 1


def test_an_event_with_unknown_descriptors_is_read(tmp_path: Path, lines: list[bytes]) -> None:
    other = with_checksum(lines[1], b'"sharpness"', b'"softness"')
    (tmp_path / "events-1.jsonl").write_bytes(lines[0] + other + lines[2])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(line) for line in (lines[0], other, lines[2])]
    assert log.corrupt_lines == 0


def test_files_are_read_in_name_order_and_other_files_are_ignored(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "events-2.jsonl").write_bytes(lines[1])
    (tmp_path / "events-1.jsonl").write_bytes(lines[0])
    (tmp_path / "notes.jsonl").write_bytes(lines[2])
    assert ids(EventLog(tmp_path, {}, {})) == [id_of(lines[0]), id_of(lines[1])]


def test_a_reader_resumes_at_the_positions_of_an_earlier_one(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(b"".join(lines[:3]))
    earlier = EventLog(tmp_path, {}, {})
    list(earlier.read())
    path.write_bytes(b"".join(lines[:5]))
    assert ids(EventLog(tmp_path, earlier.positions, {})) == [id_of(line) for line in lines[3:5]]


def test_lines_read_by_an_earlier_reader_are_marked_as_replay(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "events-1.jsonl").write_bytes(b"".join(lines[:3]))
    earlier = EventLog(tmp_path, {}, {})
    list(earlier.read())
    (tmp_path / "events-1.jsonl").write_bytes(b"".join(lines[:4]))
    later = EventLog(tmp_path, earlier.positions, {"events-1.jsonl": len(lines[0])})
    assert [(entry.event.id, entry.is_replay) for entry in later.read()] == [
        (id_of(lines[1]), True),
        (id_of(lines[2]), True),
        (id_of(lines[3]), False),
    ]


@pytest.mark.parametrize("new_lines", [1, 5], ids=["shorter", "longer"])
def test_a_replaced_file_is_read_from_its_start(tmp_path: Path, lines: list[bytes], new_lines: int) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(lines[0] + lines[1])
    log = EventLog(tmp_path, {}, {})
    list(log.read())
    path.write_bytes(b"".join(lines[1 : 1 + new_lines]))
    assert ids(log) == [id_of(line) for line in lines[1 : 1 + new_lines]]
    assert log.replaced_files == 1


def test_events_of_release_0_1_0_are_read() -> None:
    log = EventLog(FIXTURE, {}, {})
    events = [entry.event for entry in log.read()]
    assert len(events) == len((next(FIXTURE.glob("*.jsonl"))).read_text().splitlines()) > 0
    assert {event.model for event in events} == {"foraminifera"}
    assert all(event.descriptors and event.embedding for event in events)
    assert log.corrupt_lines == 0


def test_events_with_and_without_a_models_id_are_read(tmp_path: Path, clean: pd.DataFrame) -> None:
    unnamed, named = (events_of(clean.head(2), version=version) for version in (1, 2))
    named = [event.model_copy(update={"model_id": "7" * 64}) for event in named]
    append_events(tmp_path / "events-1.jsonl", [*unnamed, *named])
    log = EventLog(tmp_path, {}, {})
    models = [(entry.event.version, entry.event.model_id) for entry in log.read()]
    assert models == [(1, ""), (1, ""), (2, "7" * 64), (2, "7" * 64)]
    assert log.corrupt_lines == 0
