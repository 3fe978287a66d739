"""Parallel work in processes, with results in the order of the jobs, and the cores and memory available to it.

Workers are forked from a clean server process, or spawned, never forked from the caller: a process with TensorFlow's
threads must not be forked, and workers must not load TensorFlow.
"""

import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2

from components.shared.errors import TaxonflowError

Job = TypeVar("Job")
Result = TypeVar("Result")

_PENDING_JOBS_PER_WORKER = 4
_LONGEST_SOCKET_FOLDER = 60
"""Length in characters of a temporary folder in which the server process can create its socket: 104 with its name."""
_CONTAINER = Path("/sys/fs/cgroup")
"""Folder with the limits of a container (control groups, version 2)."""


def cores(container: Path = _CONTAINER) -> int:
    """Return the number of cores available to this process: those of the machine, or the CPU limit of the container.

    Kubernetes leaves all cores of the node visible to a limited container, and throttles a process that uses them.
    """
    visible, limit = _visible_cores(), container / "cpu.max"
    quota, period = limit.read_text().split() if limit.is_file() else ("max", "")
    return visible if quota == "max" else min(visible, max(1, -(-int(quota) // int(period))))


def _visible_cores() -> int:
    """Return the number of cores that the system lets this process use; macOS cannot restrict them."""
    if sys.platform != "darwin" and hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def affordable_workers(workers: int, jobs: int, bytes_per_job: int) -> int:
    """Return the number of processes to use: at most one per job, in at most half of the free memory.

    Args:
        workers: Requested number of processes, 0 for all cores.
        jobs: Number of jobs.
        bytes_per_job: Peak memory of one job.
    """
    by_memory = free_memory() // 2 // max(1, bytes_per_job)
    return max(1, min(workers or cores(), jobs, by_memory))


def free_memory(container: Path = _CONTAINER) -> int:
    """Return the memory in bytes that this process can still allocate, within the container's limit if there is one.

    The page cache counts as free, because the kernel reclaims it on demand.
    """
    free = _machine_memory(Path("/proc/meminfo"))
    limit = container / "memory.max"
    if limit.is_file() and limit.read_text().strip() != "max":
        kinds = _read_numbers(container / "memory.stat")
        usage = int((container / "memory.current").read_text()) - kinds["inactive_file"] - kinds["active_file"]
        free = min(free, max(0, int(limit.read_text()) - usage))
    return free


def _machine_memory(meminfo: Path) -> int:
    """Return the memory in bytes that the machine can still allocate; without Linux's file, as psutil measures it."""
    if meminfo.is_file():
        return _read_numbers(meminfo)["MemAvailable:"] * 1024
    import psutil

    return int(psutil.virtual_memory().available)


def _read_numbers(file: Path) -> dict[str, int]:
    """Read lines of a name, a number and an optional unit."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}


def map_in_order(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0, preload: str = ""
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, result) for each job, in the order of the jobs.

    Only a few jobs per worker are pending at any time, so memory does not grow with the number of jobs.

    Args:
        work: Function of a module that does not import TensorFlow. Its argument and result are pickled.
        jobs: Arguments of the function; consumed as needed.
        workers: Number of processes, 0 for all cores. One worker means this process.
        preload: Module that the workers import once, in the server process from which they are forked; empty for none.
    """
    count = workers or cores()
    if count == 1:
        for job in jobs:
            yield job, work(job)
        return
    modules = [work.__module__, preload] if preload else [work.__module__]
    with worker_pool(modules, count) as pool:
        yield from bounded_map(pool, work, jobs, count * _PENDING_JOBS_PER_WORKER)


@contextmanager
def worker_pool(modules: Sequence[str], workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of processes that end with the block, or with this process even if it is killed.

    Args:
        modules: Modules that the server process imports before it forks the workers; none of them imports TensorFlow.
            The first pool of this process determines the modules of all later pools.
        workers: Number of processes.
    """
    context = multiprocessing.get_context(start_method())
    context.set_forkserver_preload(list(modules))
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_initialize_worker) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise TaxonflowError(
                "the system ended a worker process, for lack of memory or because a file shrank while it was read",
                remedy="Use fewer workers, and do not change source files during a run.",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def start_method() -> str:
    """Return how workers are started: forked from a server process, which has imported their modules, or spawned.

    The system libraries of macOS do not support a fork after they were loaded. The server listens on a socket in the
    temporary folder, and the path of a socket is limited to 104 bytes.
    """
    folder = os.fsencode(tempfile.gettempdir())
    return "spawn" if sys.platform == "darwin" or len(folder) > _LONGEST_SOCKET_FOLDER else "forkserver"


def bounded_map(
    pool: Executor, work: Callable[[Job], Result], jobs: Iterable[Job], max_pending: int
) -> Iterator[tuple[Job, Result]]:
    """Yield (job, result) in the order of the jobs, with at most `max_pending` jobs submitted at any time."""
    queue: deque[tuple[Job, Future[Result]]] = deque()
    for job in jobs:
        queue.append((job, pool.submit(work, job)))
        if len(queue) >= max_pending:
            first, future = queue.popleft()
            yield first, future.result()
    while queue:
        first, future = queue.popleft()
        yield first, future.result()


def _initialize_worker() -> None:
    """Limit OpenCV to one thread per worker, and end the worker when its parent ends."""
    cv2.setNumThreads(1)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """Exit when the parent process ends, so that a killed run does not write into the files of the next one."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this runs in workers only
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
