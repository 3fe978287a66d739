"""Reading drift events: each whole line once, nothing else."""

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from components.shared.contracts import CRC_FIELD_BYTES, DriftEvent
from monitoring.drift.event_log import MAX_LINE_BYTES, EventLog
from tests.monitoring.drift_traffic import events_of


@pytest.fixture(scope="module")
def lines(clean: pd.DataFrame) -> list[bytes]:
    return [event.to_line().encode() + b"\n" for event in events_of(clean.head(6))]


def ids(log: EventLog) -> list[str]:
    return [item.event.id for item in log.read()]


def id_of(line: bytes) -> str:
    return DriftEvent.of_line(line.rstrip(), "a test").id


def sealed(line: bytes, pattern: bytes, replacement: bytes) -> bytes:
    """Changes a line as somebody does who knows of the checksum."""
    body, changes = re.subn(pattern, replacement, line.rstrip()[:-CRC_FIELD_BYTES])
    assert changes == 1
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def test_a_folder_that_does_not_exist_yet_has_no_events(tmp_path: Path) -> None:
    assert ids(EventLog(tmp_path / "later", {}, {})) == []


def test_a_line_that_is_being_written_is_read_once_it_is_whole_and_once(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(lines[0] + lines[1][:100])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(lines[0])]
    path.write_bytes(lines[0] + lines[1])
    assert ids(log) == [id_of(lines[1])]
    assert ids(log) == []
    assert log.corrupt_lines == 0


def test_a_log_cut_at_any_byte_gives_exactly_its_whole_lines(tmp_path: Path, lines: list[bytes]) -> None:
    whole = b"".join(lines[:3])
    ends = [sum(map(len, lines[:count])) for count in range(4)]
    path = tmp_path / "events-1.jsonl"
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = [id_of(line) for line, end in zip(lines[:3], ends[1:], strict=True) if end <= cut]
        assert ids(EventLog(tmp_path, {}, {})) == expected


def test_a_log_cut_at_any_byte_while_it_is_followed_loses_and_repeats_nothing(
    tmp_path: Path, lines: list[bytes]
) -> None:
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


def test_any_flipped_byte_is_counted_and_costs_no_other_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    for place in range(len(lines[1])):
        flipped = lines[1][:place] + bytes([lines[1][place] ^ 0x04]) + lines[1][place + 1 :]
        path.write_bytes(lines[0] + flipped + lines[2] + lines[3])
        log = EventLog(tmp_path, {}, {})
        lost_end = place == len(lines[1]) - 1  # two lines become one
        assert ids(log) == [id_of(line) for line in (lines[0], *(() if lost_end else lines[2:3]), lines[3])]
        assert log.corrupt_lines >= 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"{broken\n",
        lambda _: b"\n",
        lambda _: b"\xff\xfe\x00\n",
        lambda _: b"[1, 2]\n",
        lambda line: sealed(line, b"drift-event/2", b"drift-event/9"),
        lambda line: sealed(line, rb'"confidence":[^,]+', b'"confidence":NaN'),
        lambda line: sealed(line, rb'"entropy":[^,]+', b'"entropy":1e300'),
        lambda line: sealed(line, rb'"time":[^,]+', b'"time":1e300'),
        lambda line: sealed(line, rb'"version"', b'"image":"AAAA","version"'),
        lambda _: b"[" * 100_000 + b"\n",
        lambda _: b"x" * (MAX_LINE_BYTES * 20) + b"\n",
        lambda _: b'{"specimen":"' + b"x" * MAX_LINE_BYTES + b'"}\n',
    ],
    ids=[
        "not JSON",
        "empty",
        "not text",
        "not an object",
        "another schema",
        "not a number",
        "an absurd number",
        "an absurd time",
        "an unknown key",
        "deeply nested",
        "megabytes",
        "overlong",
    ],
)
def test_a_damaged_line_is_counted_and_the_lines_about_it_are_read(
    tmp_path: Path, lines: list[bytes], damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "events-1.jsonl").write_bytes(lines[0] + damage(lines[1]) + lines[2])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(lines[0]), id_of(lines[2])]
    assert log.corrupt_lines == 1


def test_an_event_with_other_descriptors_than_this_version_knows_is_read(tmp_path: Path, lines: list[bytes]) -> None:
    other = sealed(lines[1], b'"sharpness"', b'"softness"')
    (tmp_path / "events-1.jsonl").write_bytes(lines[0] + other + lines[2])
    log = EventLog(tmp_path, {}, {})
    assert ids(log) == [id_of(line) for line in (lines[0], other, lines[2])]
    assert log.corrupt_lines == 0


def test_files_are_read_in_the_order_of_their_names_and_others_are_left_alone(
    tmp_path: Path, lines: list[bytes]
) -> None:
    (tmp_path / "events-2.jsonl").write_bytes(lines[1])
    (tmp_path / "events-1.jsonl").write_bytes(lines[0])
    (tmp_path / "notes.jsonl").write_bytes(lines[2])
    assert ids(EventLog(tmp_path, {}, {})) == [id_of(lines[0]), id_of(lines[1])]


def test_a_later_reader_goes_on_where_an_earlier_one_stopped(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(b"".join(lines[:3]))
    earlier = EventLog(tmp_path, {}, {})
    list(earlier.read())
    path.write_bytes(b"".join(lines[:5]))
    assert ids(EventLog(tmp_path, earlier.positions, {})) == [id_of(line) for line in lines[3:5]]


def test_lines_that_are_read_again_are_marked(tmp_path: Path, lines: list[bytes]) -> None:
    (tmp_path / "events-1.jsonl").write_bytes(b"".join(lines[:3]))
    earlier = EventLog(tmp_path, {}, {})
    list(earlier.read())
    (tmp_path / "events-1.jsonl").write_bytes(b"".join(lines[:4]))
    later = EventLog(tmp_path, earlier.positions, {"events-1.jsonl": len(lines[0])})
    assert [(item.event.id, item.again) for item in later.read()] == [
        (id_of(lines[1]), True),
        (id_of(lines[2]), True),
        (id_of(lines[3]), False),
    ]


@pytest.mark.parametrize("new_lines", [1, 5], ids=["shorter", "longer"])
def test_another_file_of_the_same_name_is_read_from_its_start(
    tmp_path: Path, lines: list[bytes], new_lines: int
) -> None:
    path = tmp_path / "events-1.jsonl"
    path.write_bytes(lines[0] + lines[1])
    log = EventLog(tmp_path, {}, {})
    list(log.read())
    path.write_bytes(b"".join(lines[1 : 1 + new_lines]))
    assert ids(log) == [id_of(line) for line in lines[1 : 1 + new_lines]]
    assert log.replaced_files == 1
