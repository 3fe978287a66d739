"""Drift events: a line for each answered slice, written beside the answer and never in its way.

The queue is bounded in slices and in bytes; what does not fit is dropped and counted. Pixels wait in memory only
until they are described, and reach the disk only where somebody asked for it (`serving.slice_archive`). Files end at
MAX_FILE_BYTES; when one begins, the oldest ones of the folder go, so that all of them together take at most
MAX_FOLDER_BYTES and one file more.
"""

import argparse
import os
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from components.shared.contracts import DriftEvent
from components.shared.errors import BadConfigError
from components.shared.images.decoding import Pixels
from components.shared.images.descriptors import describe
from serving.metrics import EVENTS_DROPPED, EVENTS_WRITTEN
from serving.slice_archive import KEPT_MB, KeptSlices

MAX_QUEUED_EVENTS = 4096
MAX_QUEUED_BYTES = 64 * 2**20
MAX_FILE_BYTES = 64 * 2**20
MAX_FOLDER_BYTES = 2 * 2**30
_BATCH = 64
_LONGEST_PAUSE_S = 0.2


@dataclass(frozen=True)
class AnsweredSlice:
    """A slice that was answered.

    Attributes:
        event: what it leaves, but for the descriptors: they take longer than the answer may wait.
        pixels: uint8 [H, W] or [H, W, 3] as the model saw it.
    """

    event: DriftEvent
    pixels: Pixels


class EventRecorder:
    """Appends drift events to `<folder>/events-<start>-<id>-<number>.jsonl` from a thread of its own.

    Args:
        folder: is made when it does not exist.
        report: takes a sentence when events cannot be written.
        max_events: that wait at a time.
        max_bytes: of pixels that wait at a time.
        max_file_bytes: after which a new file begins.
        max_folder_bytes: of finished files that stay in the folder.
        kept: takes the slices as images, where that is wanted.
    """

    def __init__(
        self,
        folder: Path,
        report: Callable[[str], None],
        max_events: int = MAX_QUEUED_EVENTS,
        max_bytes: int = MAX_QUEUED_BYTES,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_folder_bytes: int = MAX_FOLDER_BYTES,
        kept: KeptSlices | None = None,
    ) -> None:
        self.folder, self._report, self._kept = folder, report, kept
        self.dropped = 0
        self._failing = self._keeping_fails = False
        self._queue: queue.Queue[AnsweredSlice | None] = queue.Queue(max_events)
        self._max_bytes = max_bytes
        self._max_file_bytes, self._max_folder_bytes = max_file_bytes, max_folder_bytes
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._prefix = f"events-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        self._file_number = 0
        self._thread = threading.Thread(target=self._write_until_closed, name="drift-events", daemon=True)

    def start(self) -> None:
        """Starts the thread that writes.

        Raises:
            BadConfigError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfigError(f"the events' folder {self.folder} cannot be made ({error.strerror})") from error
        self._thread.start()

    def record(self, answered: AnsweredSlice) -> None:
        """Queues an event, or drops and counts it when the queue is full; returns at once."""
        size = answered.pixels.nbytes
        with self._lock:
            fits = self._queued_bytes + size <= self._max_bytes
            if fits:
                self._queued_bytes += size
        if fits:
            try:
                self._queue.put_nowait(answered)
                return
            except queue.Full:
                self._release(size)
        self._count_dropped(1)

    def close(self, timeout_s: float = 10.0) -> None:
        """Writes what waits and ends the thread; what is not written within `timeout_s` is lost."""
        if not self._thread.is_alive():
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _release(self, size: int) -> None:
        with self._lock:
            self._queued_bytes -= size

    def _count_dropped(self, count: int) -> None:
        with self._lock:
            self.dropped += count
        EVENTS_DROPPED.inc(count)

    def _write_until_closed(self) -> None:
        closing = False
        while not closing:
            batch = self._next_batch()
            closing = batch[-1] is None
            self._append([answered for answered in batch if answered is not None])

    def _next_batch(self) -> list[AnsweredSlice | None]:
        batch = [self._queue.get()]
        deadline = time.monotonic() + _LONGEST_PAUSE_S
        while batch[-1] is not None and len(batch) < _BATCH:
            try:
                batch.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _append(self, batch: list[AnsweredSlice]) -> None:
        if not batch:
            return
        lines = "".join(_described(answered).to_line() + "\n" for answered in batch)
        self._release(sum(answered.pixels.nbytes for answered in batch))
        try:
            with self._current_file().open("a", encoding="utf-8") as file:
                file.write(lines)
            self._failing = False
            EVENTS_WRITTEN.inc(len(batch))
        except OSError as error:
            if not self._failing:
                self._report(f"drift events cannot be written to {self.folder} and are dropped ({error})")
            self._failing = True
            self._count_dropped(len(batch))
            self._leave_a_torn_file()
            return
        self._keep(batch)

    def _keep(self, batch: list[AnsweredSlice]) -> None:
        if self._kept is None:
            return
        try:
            for answered in batch:
                self._kept.keep(answered.event.id, answered.event.time, answered.pixels)
            self._keeping_fails = False
        except OSError as error:
            if not self._keeping_fails:
                self._report(f"slices cannot be kept in {self._kept.folder} ({error}); answers and events go on")
            self._keeping_fails = True

    def _current_file(self) -> Path:
        path = self._file()
        if path.exists() and path.stat().st_size > self._max_file_bytes:
            self._file_number += 1
            path = self._file()
        if not path.exists():
            remove_oldest(self.folder, self._max_folder_bytes)
        return path

    def _leave_a_torn_file(self) -> None:
        """Goes on in another file where a full disk took half a line, which the next one would spoil itself on."""
        with suppress(OSError), self._file().open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                self._file_number += 1

    def _file(self) -> Path:
        return self.folder / f"{self._prefix}-{self._file_number:04d}.jsonl"


def remove_oldest(folder: Path, max_bytes: int) -> None:
    """Removes the oldest files of events until the others take at most `max_bytes`; other servers may do the same."""
    left = max_bytes
    for status, file in sorted(_sizes(folder), key=lambda found: found[0].st_mtime_ns, reverse=True):
        left -= status.st_size
        if left < 0:
            file.unlink(missing_ok=True)


def _sizes(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    for file in folder.glob("events-*.jsonl"):
        with suppress(FileNotFoundError):
            yield file.stat(), file


def _described(answered: AnsweredSlice) -> DriftEvent:
    return answered.event.model_copy(update={"descriptors": describe(answered.pixels)})


def add_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Adds what a server can be told about events and kept slices."""
    parser.add_argument(
        "--events", type=Path, default=default, metavar="DIR", help="write a drift event for each slice; off by default"
    )
    parser.add_argument(
        "--keep_slices", type=Path, metavar="DIR", help="keep the latest slices as images; off by default"
    )
    parser.add_argument(
        "--keep_slices_mb", type=int, default=KEPT_MB, metavar="MB", help="most megabytes of them (%(default)s)"
    )


def started_recorder(options: argparse.Namespace, report: Callable[[str], None]) -> EventRecorder | None:
    """Starts the recorder of drift events if a folder is given.

    Raises:
        BadConfigError: a folder cannot be made, or slices shall be kept without events.
    """
    if options.events is None:
        if options.keep_slices:
            raise BadConfigError(
                "--keep_slices without --events", "both", "Add --events DIR: it says what each slice is."
            )
        return None
    if options.keep_slices_mb < 1:
        raise BadConfigError(f"--keep_slices_mb {options.keep_slices_mb}", "1 or more")
    kept = KeptSlices(options.keep_slices, options.keep_slices_mb * 2**20) if options.keep_slices else None
    recorder = EventRecorder(options.events, report, kept=kept)
    recorder.start()
    return recorder
