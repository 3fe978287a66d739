"""Reader of the drift events in the server's append-only files."""

import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from components.shared.config import Frozen
from components.shared.contracts import DriftEvent
from components.shared.errors import ContractError

PATTERN = "events-*.jsonl"
MAX_LINE_BYTES = 256 * 2**10
MAX_FOLDER_FILES = 10_000
LATEST_TIME = 2.0**34
LARGEST_NUMBER = 1e9
_CHUNK_BYTES = 4 * 2**20
_HEAD_BYTES = 256


class Position(Frozen):
    """The read position in a file.

    Attributes:
        offset: Number of bytes read; always at the end of a line.
        head_crc32: CRC-32 of the first `min(offset, 256)` bytes. It distinguishes a file from a later one of the same
            name.
    """

    offset: int
    head_crc32: int


@dataclass(frozen=True)
class LogEntry:
    """A drift event and its position in the log.

    Attributes:
        event: The drift event.
        file: Name of its file.
        offset: Offset of its line, in bytes.
        is_replay: Whether an earlier run has already read the line.
    """

    event: DriftEvent
    file: str
    offset: int
    is_replay: bool


class EventLog:
    """Reader that follows a folder of append-only event files.

    Only complete lines are read; the incomplete last line of a file is left for the next read. Lines without a valid
    drift event are counted and skipped.

    Args:
        folder: Folder that the server writes to; it need not exist yet.
        positions: Read positions of an earlier run, by file name.
        replay_from: Offsets before these positions from which files are to be read again, by file name.

    Attributes:
        positions: Read positions, by file name.
        corrupt_lines: Number of lines without a valid event.
        replaced_files: Number of files that became shorter or different, and are read again from their start.
    """

    def __init__(self, folder: Path, positions: Mapping[str, Position], replay_from: Mapping[str, int]) -> None:
        self.folder = folder
        self.positions = dict(positions)
        self._replay_from = dict(replay_from)
        self._earlier_offsets = {name: position.offset for name, position in positions.items()}
        self.corrupt_lines = 0
        self.replaced_files = 0

    def read(self) -> Iterator[LogEntry]:
        """Yield the events of all new complete lines, file by file in the order of their names."""
        files = sorted(self.folder.glob(PATTERN))[-MAX_FOLDER_FILES:] if self.folder.is_dir() else []
        names = {file.name for file in files}
        self.positions = {name: position for name, position in self.positions.items() if name in names}
        for path in files:
            yield from self._read_file(path)

    def _read_file(self, path: Path) -> Iterator[LogEntry]:
        try:
            file = path.open("rb")
        except OSError:
            return
        with file:
            for line in _complete_lines(file, self._start(path.name, file)):
                self._advance(path.name, file, line.end)
                event = _parse(line.content, path.name)
                if event is None:
                    self.corrupt_lines += 1
                else:
                    is_replay = line.offset < self._earlier_offsets.get(path.name, 0)
                    yield LogEntry(event, path.name, line.offset, is_replay)

    def _start(self, name: str, file: BinaryIO) -> int:
        position = self.positions.get(name)
        if position is None:
            return 0
        size = os.fstat(file.fileno()).st_size
        if size >= position.offset and _head_crc32(file, position.offset) == position.head_crc32:
            return min(position.offset, self._replay_from.pop(name, position.offset))
        self.replaced_files += 1
        for by_name in (self.positions, self._earlier_offsets, self._replay_from):
            by_name.pop(name, None)
        return 0

    def _advance(self, name: str, file: BinaryIO, offset: int) -> None:
        before = self.positions.get(name)
        head = before.head_crc32 if before and before.offset >= _HEAD_BYTES else _head_crc32(file, offset)
        self.positions[name] = Position(offset=offset, head_crc32=head)


@dataclass(frozen=True)
class _Line:
    offset: int
    end: int
    content: bytes


def _complete_lines(file: BinaryIO, offset: int) -> Iterator[_Line]:
    """Yield the complete lines from an offset. Overlong lines are truncated, so that memory is bounded."""
    file.seek(offset)
    start, buffer, length = offset, b"", 0
    while chunk := file.read(_CHUNK_BYTES):
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            end = start + length + len(part) + 1
            yield _Line(start, end, buffer + part)
            start, buffer, length = end, b"", 0
        buffer = (buffer + rest)[: MAX_LINE_BYTES + 1]
        length += len(rest)


def _parse(content: bytes, source: str) -> DriftEvent | None:
    """Return the event of a line, or None if the line is damaged or overlong, or a number is out of range."""
    if len(content) > MAX_LINE_BYTES:
        return None
    try:
        event = DriftEvent.from_line(content, source)
    except ContractError:
        return None
    in_range = 0 <= event.time < LATEST_TIME and 0 <= event.confidence <= 1 and event.version >= 0
    numbers = (*event.descriptors.values(), *event.embedding)
    return event if in_range and all(abs(number) <= LARGEST_NUMBER for number in numbers) else None


def _head_crc32(file: BinaryIO, offset: int) -> int:
    return zlib.crc32(os.pread(file.fileno(), min(offset, _HEAD_BYTES), 0))
