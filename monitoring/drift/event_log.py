"""Drift events read from the files that the server appends to, each line once."""

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
    """How far a file has been read.

    Attributes:
        offset: bytes read; always the end of a line.
        head: CRC-32 of the file's first `min(offset, 256)` bytes, which tells a file from a later one of the same name.
    """

    offset: int
    head: int


@dataclass(frozen=True)
class EventAt:
    """An event and its place.

    Attributes:
        event: the event.
        file: the name of its file.
        begin: where its line begins, in bytes.
        again: whether an earlier run had read the line already.
    """

    event: DriftEvent
    file: str
    begin: int
    again: bool


class EventLog:
    """Follows a folder of append-only event files.

    Whole lines are read; the unfinished last line of a file is left for the next time. Lines that are no drift event
    are counted and skipped.

    Args:
        folder: where the server writes; it need not exist yet.
        positions: how far an earlier run had read each file.
        resume: where to begin in files that are to be read again from before their position.

    Attributes:
        positions: how far each file has been read, by name.
        corrupt_lines: lines that were no usable event.
        replaced_files: files that were shorter or other than before, and are read from their start again.
    """

    def __init__(self, folder: Path, positions: Mapping[str, Position], resume: Mapping[str, int]) -> None:
        self.folder = folder
        self.positions = dict(positions)
        self._resume = dict(resume)
        self._read_before = {name: position.offset for name, position in positions.items()}
        self.corrupt_lines = 0
        self.replaced_files = 0

    def read(self) -> Iterator[EventAt]:
        """Yields the events of all lines that are new and whole, file by file in the order of their names."""
        files = sorted(self.folder.glob(PATTERN))[-MAX_FOLDER_FILES:] if self.folder.is_dir() else []
        names = {file.name for file in files}
        self.positions = {name: position for name, position in self.positions.items() if name in names}
        for path in files:
            yield from self._read_file(path)

    def _read_file(self, path: Path) -> Iterator[EventAt]:
        try:
            file = path.open("rb")
        except OSError:
            return
        with file:
            for line in _whole_lines(file, self._start(path.name, file)):
                self._advance(path.name, file, line.end)
                event = _parse(line.content, path.name)
                if event is None:
                    self.corrupt_lines += 1
                else:
                    again = line.begin < self._read_before.get(path.name, 0)
                    yield EventAt(event, path.name, line.begin, again)

    def _start(self, name: str, file: BinaryIO) -> int:
        position = self.positions.get(name)
        if position is None:
            return 0
        size = os.fstat(file.fileno()).st_size
        if size >= position.offset and _head(file, position.offset) == position.head:
            return min(position.offset, self._resume.pop(name, position.offset))
        self.replaced_files += 1
        for forgotten in (self.positions, self._read_before, self._resume):
            forgotten.pop(name, None)
        return 0

    def _advance(self, name: str, file: BinaryIO, offset: int) -> None:
        before = self.positions.get(name)
        head = before.head if before and before.offset >= _HEAD_BYTES else _head(file, offset)
        self.positions[name] = Position(offset=offset, head=head)


@dataclass(frozen=True)
class _Line:
    begin: int
    end: int
    content: bytes


def _whole_lines(file: BinaryIO, offset: int) -> Iterator[_Line]:
    """Yields the whole lines from an offset on; of an overlong line only a beginning, so that memory is bounded."""
    file.seek(offset)
    begin, kept, length = offset, b"", 0
    while chunk := file.read(_CHUNK_BYTES):
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            end = begin + length + len(part) + 1
            yield _Line(begin, end, kept + part)
            begin, kept, length = end, b"", 0
        kept = (kept + rest)[: MAX_LINE_BYTES + 1]
        length += len(rest)


def _parse(content: bytes, source: str) -> DriftEvent | None:
    """Returns the event of a line, or None where the line is damaged or overlong, or a number is not sane."""
    if len(content) > MAX_LINE_BYTES:
        return None
    try:
        event = DriftEvent.of_line(content, source)
    except ContractError:
        return None
    sane = 0 <= event.time < LATEST_TIME and 0 <= event.confidence <= 1 and event.version >= 0
    numbers = (*event.descriptors.values(), *event.embedding)
    return event if sane and all(abs(number) <= LARGEST_NUMBER for number in numbers) else None


def _head(file: BinaryIO, offset: int) -> int:
    return zlib.crc32(os.pread(file.fileno(), min(offset, _HEAD_BYTES), 0))
