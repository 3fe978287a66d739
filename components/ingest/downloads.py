"""Download of source files from an object store while others are processed; each is deleted after processing."""

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from components.ingest.slice_files import SliceJob, SliceResult
from components.ingest.sources.base import SourceFile, is_folder, local_name
from components.ingest.sources.manifest import Scan
from components.ingest.sources.object_store import ObjectStoreSource
from components.shared.errors import BadSourceFileError
from components.shared.workers import bounded_map, worker_pool

Task = tuple[Scan, SliceJob]
PRELOAD = "components.ingest.preload"
"""Module that is imported before worker processes are forked."""


class ScratchFolder:
    """A folder whose subfolders never occupy more than `max_bytes` together.

    Args:
        folder: Existing, empty folder.
        max_bytes: Limit of all subfolders together, and so of each.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._free = max_bytes
        self._changed = threading.Condition()
        self._queue = threading.Lock()

    @contextmanager
    def reserve(self, name: str, size: int) -> Iterator[Path]:
        """Wait until there is space, and yield a new folder; it is deleted at the end of the block.

        Reservations are served in the order of the calls, so that small files cannot delay a large one indefinitely.
        """
        with self._queue, self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        target = self._folder / name
        target.mkdir()
        try:
            yield target
        finally:
            shutil.rmtree(target)
            with self._changed:
                self._free += size
                self._changed.notify_all()


MASK_FOLDER = "mask"
"""Folder of the user's own mask beside the files of its volume; their names may be equal."""


@dataclass(frozen=True)
class DownloadProcessor:
    """The steps for one file of an object store: download, processing by a worker process, deletion.

    Attributes:
        source: Source of the files.
        scratch: Folder for downloaded files.
        pool: Worker processes.
        slots: Semaphore that limits the number of parallel downloads.
        work: Function of the worker processes, `SourceKind.make_slices`.
    """

    source: ObjectStoreSource
    scratch: ScratchFolder
    pool: ProcessPoolExecutor
    slots: threading.Semaphore
    work: Callable[[SliceJob], SliceResult]

    def process(self, task: Task) -> SliceResult:
        """Make the slices of one file; the file is refused if it is missing or has changed since the plan.

        Raises:
            TaxonflowError: The store does not answer.
        """
        scan, job = task
        mask_size = scan.mask_file.size if scan.mask_file else 0
        with self.scratch.reserve(job.slice_file.stem, scan.size + mask_size) as folder:
            try:
                with self.slots:
                    file = download_volume(self.source, scan.source_file, folder)
                    mask = self._download_mask(scan.mask_file, folder) if scan.mask_file else None
            except BadSourceFileError as error:
                return SliceResult(refusal=str(error))
            return self.pool.submit(self.work, replace(job, file=file, mask=mask)).result()

    def _download_mask(self, mask_file: SourceFile, folder: Path) -> Path:
        mask_folder = folder / MASK_FOLDER
        mask_folder.mkdir()
        return download_volume(self.source, mask_file, mask_folder)


def download_volume(source: ObjectStoreSource, source_file: SourceFile, folder: Path) -> Path:
    """Download a file, or all files of a volume, into a folder; return the path to read.

    Raises:
        BadSourceFileError: A file does not exist any more, or has changed since it was listed.
        TaxonflowError: The store does not answer.
    """
    for part in source_file.parts or (source_file,):
        source.download(part, folder / local_name(part))
    return folder if is_folder(source_file) else folder / local_name(source_file)


def process_downloads(
    tasks: Sequence[Task],
    source: ObjectStoreSource,
    scratch: ScratchFolder,
    downloads: int,
    workers: int,
    work: Callable[[SliceJob], SliceResult],
) -> Iterator[SliceResult]:
    """Yield the result of each task, in the order of the tasks.

    Args:
        tasks: Scans of the source with their jobs.
        source: Source of the files.
        scratch: Folder for files that are downloaded and not yet processed.
        downloads: Number of parallel downloads.
        workers: Number of worker processes.
        work: Function of the worker processes, `SourceKind.make_slices`.
    """
    parallel_files = downloads + workers
    modules = (work.__module__, PRELOAD)
    with worker_pool(modules, workers) as pool, ThreadPoolExecutor(parallel_files) as threads:
        processor = DownloadProcessor(source, scratch, pool, threading.Semaphore(downloads), work)
        try:
            for _, result in bounded_map(threads, processor.process, tasks, parallel_files):
                yield result
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
