"""The recorder of drift events: one JSON line per answered slice, written by a background thread.

The queue is bounded in events and in bytes; events that do not fit are dropped and counted. Pixels stay in memory until
their descriptors are computed; only `serving.slice_archive` writes them to disk. A file ends at MAX_FILE_BYTES. Each
new file removes the oldest ones, so that the folder holds at most MAX_FOLDER_BYTES plus one file.
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
from serving.slice_archive import DEFAULT_ARCHIVE_MB, SliceArchive

MAX_QUEUED_EVENTS = 4096
MAX_QUEUED_BYTES = 64 * 2**20
MAX_FILE_BYTES = 64 * 2**20
MAX_FOLDER_BYTES = 2 * 2**30
_MAX_BATCH_EVENTS = 64
_MAX_BATCH_DELAY_S = 0.2


@dataclass(frozen=True)
class PendingEvent:
    """An event that waits to be written.

    Attributes:
        event: Drift event without descriptors, which take too long to be computed before the answer.
        pixels: Pixels as the model received them, uint8 [H, W] or [H, W, 3].
    """

    event: DriftEvent
    pixels: Pixels


class EventRecorder:
    """A thread that appends drift events to `<folder>/events-<start>-<id>-<number>.jsonl`.

    Args:
        folder: Folder of the files, which is created if it does not exist.
        report: Function that takes a message when events cannot be written.
        max_events: Most events in the queue.
        max_bytes: Largest size of the pixels in the queue.
        max_file_bytes: Size after which a new file begins.
        max_folder_bytes: Largest size of the finished files in the folder.
        archive: Archive of the slices as images; None stores none.
    """

    def __init__(
        self,
        folder: Path,
        report: Callable[[str], None],
        max_events: int = MAX_QUEUED_EVENTS,
        max_bytes: int = MAX_QUEUED_BYTES,
        max_file_bytes: int = MAX_FILE_BYTES,
        max_folder_bytes: int = MAX_FOLDER_BYTES,
        archive: SliceArchive | None = None,
    ) -> None:
        self.folder, self._report, self._archive = folder, report, archive
        self.dropped = 0
        self._events_fail = self._archive_fails = False
        self._queue: queue.Queue[PendingEvent | None] = queue.Queue(max_events)
        self._max_bytes = max_bytes
        self._max_file_bytes, self._max_folder_bytes = max_file_bytes, max_folder_bytes
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._prefix = f"events-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        self._file_number = 0
        self._thread = threading.Thread(target=self._write_until_closed, name="drift-events", daemon=True)

    def start(self) -> None:
        """Start the thread.

        Raises:
            BadConfigError: The folder cannot be created.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfigError(
                f"the folder {self.folder} for drift events cannot be created ({error.strerror})",
                "a folder that can be created and written",
                "Set --events to another folder.",
            ) from error
        self._thread.start()

    def record(self, item: PendingEvent) -> None:
        """Queue an event, or drop and count it if the queue is full; never block."""
        size = item.pixels.nbytes
        with self._lock:
            fits = self._queued_bytes + size <= self._max_bytes
            if fits:
                self._queued_bytes += size
        if fits:
            try:
                self._queue.put_nowait(item)
                return
            except queue.Full:
                self._release(size)
        self._count_dropped(1)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write the queued events and stop the thread; events not written within `timeout_s` seconds are lost."""
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
        is_closed = False
        while not is_closed:
            batch = self._next_batch()
            is_closed = batch[-1] is None
            self._append([item for item in batch if item is not None])

    def _next_batch(self) -> list[PendingEvent | None]:
        batch = [self._queue.get()]
        deadline = time.monotonic() + _MAX_BATCH_DELAY_S
        while batch[-1] is not None and len(batch) < _MAX_BATCH_EVENTS:
            try:
                batch.append(self._queue.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _append(self, batch: list[PendingEvent]) -> None:
        if not batch:
            return
        lines = "".join(_with_descriptors(item).to_line() + "\n" for item in batch)
        self._release(sum(item.pixels.nbytes for item in batch))
        try:
            with self._current_file().open("a", encoding="utf-8") as file:
                file.write(lines)
            self._events_fail = False
            EVENTS_WRITTEN.inc(len(batch))
        except OSError as error:
            if not self._events_fail:
                self._report(f"drift events cannot be written to {self.folder} and are dropped ({error})")
            self._events_fail = True
            self._count_dropped(len(batch))
            self._skip_truncated_file()
            return
        self._add_to_archive(batch)

    def _add_to_archive(self, batch: list[PendingEvent]) -> None:
        if self._archive is None:
            return
        try:
            for item in batch:
                self._archive.add(item.event.id, item.event.time, item.pixels)
            self._archive_fails = False
        except OSError as error:
            if not self._archive_fails:
                self._report(f"slices cannot be written to {self._archive.folder} and are not archived ({error})")
            self._archive_fails = True

    def _current_file(self) -> Path:
        path = self._path()
        if path.exists() and path.stat().st_size > self._max_file_bytes:
            self._file_number += 1
            path = self._path()
        if not path.exists():
            remove_oldest(self.folder, self._max_folder_bytes)
        return path

    def _skip_truncated_file(self) -> None:
        """Start a new file if a full disk truncated the last line."""
        with suppress(OSError), self._path().open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                self._file_number += 1

    def _path(self) -> Path:
        return self.folder / f"{self._prefix}-{self._file_number:04d}.jsonl"


def remove_oldest(folder: Path, max_bytes: int) -> None:
    """Remove the oldest event files until the others have at most `max_bytes`; safe with several servers."""
    bytes_left = max_bytes
    for status, file in sorted(_sizes(folder), key=lambda pair: pair[0].st_mtime_ns, reverse=True):
        bytes_left -= status.st_size
        if bytes_left < 0:
            file.unlink(missing_ok=True)


def _sizes(folder: Path) -> Iterator[tuple[os.stat_result, Path]]:
    for file in folder.glob("events-*.jsonl"):
        with suppress(FileNotFoundError):
            yield file.stat(), file


def _with_descriptors(item: PendingEvent) -> DriftEvent:
    return item.event.model_copy(update={"descriptors": describe(item.pixels)})


def add_event_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the command-line options of drift events and of the archive of slices."""
    parser.add_argument(
        "--events", type=Path, default=default, metavar="DIR", help="folder for a drift event per slice; off by default"
    )
    parser.add_argument(
        "--keep_slices", type=Path, metavar="DIR", help="folder for the latest slices as images; off by default"
    )
    parser.add_argument(
        "--keep_slices_mb",
        type=int,
        default=DEFAULT_ARCHIVE_MB,
        metavar="MB",
        help="largest size of these images in megabytes (%(default)s)",
    )


def start_recorder(options: argparse.Namespace, report: Callable[[str], None]) -> EventRecorder | None:
    """Start the recorder of drift events; return None without the option `--events`.

    Raises:
        BadConfigError: A folder cannot be created, or an option of the archive is invalid or set without `--events`.
    """
    if options.events is None:
        if options.keep_slices:
            raise BadConfigError("--keep_slices without --events", "both options", "Add --events DIR.")
        return None
    if options.keep_slices_mb < 1:
        raise BadConfigError(f"--keep_slices_mb {options.keep_slices_mb}", "1 or more")
    archive = SliceArchive(options.keep_slices, options.keep_slices_mb * 2**20) if options.keep_slices else None
    recorder = EventRecorder(options.events, report, archive=archive)
    recorder.start()
    return recorder
