"""Work spread over the cores, with results in the order of the jobs.

Workers are forked from a clean server process, never from the caller: a process in which TensorFlow runs threads
must not be forked, and workers shall not load it.
"""

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import cv2

from components.shared.errors import TaxonflowError

Job = TypeVar("Job")
Result = TypeVar("Result")

_JOBS_AHEAD = 4
_CONTAINER = Path("/sys/fs/cgroup")
"""Where a container sees its limits (control groups, version 2)."""


def cores(container: Path = _CONTAINER) -> int:
    """Returns how many cores this process may use: those of the machine, or as many as the container's limit is worth.

    A limit of Kubernetes leaves all of the node's cores visible, and stops who uses them for the rest of a period.
    """
    visible, limit = len(os.sched_getaffinity(0)), container / "cpu.max"
    quota, period = limit.read_text().split() if limit.is_file() else ("max", "")
    return visible if quota == "max" else min(visible, max(1, -(-int(quota) // int(period))))


def affordable_workers(wanted: int, jobs: int, bytes_per_job: int) -> int:
    """Returns how many processes to use: no more than jobs, nor than half of the free memory can serve.

    Args:
        wanted: 0 for all cores.
        jobs: how many there are.
        bytes_per_job: memory that one job needs at most.
    """
    by_memory = free_memory() // 2 // max(1, bytes_per_job)
    return max(1, min(wanted or cores(), jobs, by_memory))


def free_memory(container: Path = _CONTAINER) -> int:
    """Returns the bytes that this process may still take: what the container's limit or the machine has left.

    Pages of files that were read count as used, but are given up for whoever needs memory.
    """
    free = _numbers(Path("/proc/meminfo"))["MemAvailable:"] * 1024
    limit = container / "memory.max"
    if limit.is_file() and limit.read_text().strip() != "max":
        kinds = _numbers(container / "memory.stat")
        kept = int((container / "memory.current").read_text()) - kinds["inactive_file"] - kinds["active_file"]
        free = min(free, max(0, int(limit.read_text()) - kept))
    return free


def _numbers(file: Path) -> dict[str, int]:
    """Reads lines of a name and a number, and perhaps a unit."""
    return {name: int(number) for name, number, *_ in map(str.split, file.read_text().splitlines())}


def map_in_order(work: Callable[[Job], Result], jobs: Iterable[Job], workers: int = 0) -> Iterator[tuple[Job, Result]]:
    """Yields (job, result) for each job in the jobs' order.

    At most a few jobs per worker are taken ahead of the result that is yielded, so memory does not grow with them.

    Args:
        work: a function of a module that does not import TensorFlow; its argument and result are pickled on their way.
        jobs: what to do; taken as they are needed.
        workers: processes; 0 for all cores; with one worker the work is done in this process.
    """
    count = workers or cores()
    if count == 1:
        for job in jobs:
            yield job, work(job)
        return
    with worker_pool(work.__module__, count) as pool:
        yield from drain(pool, work, jobs, count * _JOBS_AHEAD)


@contextmanager
def worker_pool(module: str, workers: int) -> Iterator[ProcessPoolExecutor]:
    """Yields processes that end with the block, or with this process, however it ends.

    Args:
        module: where their work is; it must not import TensorFlow. The first pool of this process decides what the
            workers of all of them have in memory when they begin.
        workers: how many processes.
    """
    context = multiprocessing.get_context("forkserver")
    room = module.rpartition(".")[0]
    context.set_forkserver_preload([module, f"{room}.preload"])  # the latter where there is one
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_work) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise TaxonflowError(
                "the system ended a worker process, for lack of memory or because a file shrank while it was read",
                remedy="Use fewer workers, and leave volumes alone during a run.",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def drain(
    pool: Executor, work: Callable[[Job], Result], jobs: Iterable[Job], ahead: int
) -> Iterator[tuple[Job, Result]]:
    """Yields (job, result) in the jobs' order; at most `ahead` jobs are taken before a result is yielded."""
    under_way: deque[tuple[Job, Future[Result]]] = deque()
    for job in jobs:
        under_way.append((job, pool.submit(work, job)))
        if len(under_way) >= ahead:
            done, future = under_way.popleft()
            yield done, future.result()
    while under_way:
        done, future = under_way.popleft()
        yield done, future.result()


def _begin_work() -> None:
    """Keeps OpenCV's own threads from competing with the other workers, and a worker from outliving its parent."""
    cv2.setNumThreads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when its parent was killed: what it would still write may belong to the next run."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # workers have one
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
