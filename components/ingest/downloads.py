"""Volumes of an object store are downloaded while others are cut, and deleted as soon as they are cut themselves."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from components.ingest.sources.manifest import Scan
from components.ingest.sources.object_store import RemoteSource
from components.ingest.volume_slices import CutJob, CutResult
from components.shared.errors import BadSourceFileError
from components.shared.workers import bounded_map, worker_pool

Task = tuple[Scan, CutJob]


class Scratch:
    """A folder whose files never take more than so many bytes together.

    Args:
        folder: existing and empty.
        most_bytes: of all files; no single one may be larger.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._free = most_bytes
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def room(self, name: str, size: int) -> Iterator[Path]:
        """Waits until a file of a size fits and yields its path; the file is deleted with the block.

        Whoever comes first is served first, so that a large file does not wait for ever.
        """
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        target = self._folder / name
        try:
            yield target
        finally:
            target.unlink(missing_ok=True)
            with self._changed:
                self._free += size
                self._changed.notify_all()


@dataclass(frozen=True)
class Fetcher:
    """Downloads a volume, has it cut by another process, and deletes it.

    Attributes:
        source: where the volumes are.
        scratch: where they go.
        pool: processes that cut.
        gate: lets so many downloads through at a time.
        work: what the processes do, see `components.ingest.source_kinds`.
    """

    source: RemoteSource
    scratch: Scratch
    pool: ProcessPoolExecutor
    gate: threading.Semaphore
    work: Callable[[CutJob], CutResult]

    def cut(self, task: Task) -> CutResult:
        """Cuts one volume; it is refused if it is gone or changed.

        Raises:
            TaxonflowError: the store does not answer any more.
        """
        scan, job = task
        with self.scratch.room(job.part.stem, scan.size) as file:
            try:
                with self.gate:
                    self.source.download(scan.place, file)
            except BadSourceFileError as error:
                return CutResult(refused=str(error))
            return self.pool.submit(self.work, replace(job, file=file)).result()


def cut_downloaded(
    tasks: Sequence[Task],
    source: RemoteSource,
    scratch: Scratch,
    downloads: int,
    workers: int,
    work: Callable[[CutJob], CutResult],
) -> Iterator[CutResult]:
    """Yields what came of each volume, in the tasks' order.

    Args:
        tasks: scans of the source with their jobs.
        source: where the volumes are.
        scratch: holds those that are downloaded and not yet cut.
        downloads: how many are downloaded at a time.
        workers: processes that cut.
        work: what they do, see `components.ingest.source_kinds`.
    """
    at_once = downloads + workers
    modules = (work.__module__, "components.ingest.preload")
    with worker_pool(modules, workers) as pool, ThreadPoolExecutor(at_once) as threads:
        fetcher = Fetcher(source, scratch, pool, threading.Semaphore(downloads), work)
        try:
            for _, result in bounded_map(threads, fetcher.cut, tasks, at_once):
                yield result
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
