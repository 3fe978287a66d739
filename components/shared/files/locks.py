"""Locks between processes: those of the kernel, or files with their owner where the file system has no locks."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_UNFINISHED_S = 10.0
"""Age in seconds of an unreadable owner file that a killed process left."""


@contextmanager
def exclusive_lock(file: Path) -> Iterator[bool]:
    """Hold a lock during the block; yield True for a lock of the kernel, False for a file with the lock's owner.

    The kernel releases its lock when the process ends for any reason. The file of an owner that has ended on this
    machine is replaced.

    Raises:
        BlockingIOError: Another process holds the lock; `filename` is the file with its owner, if there is one.
        OSError: The lock cannot be created.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if _lock_in_kernel(descriptor):
            yield True
            return
        owner_file = file.with_name(f"{file.name}.owner")
        _create_owner_file(owner_file)
        try:
            yield False
        finally:
            owner_file.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _lock_in_kernel(descriptor: int) -> bool:
    """Lock a file; return False if its file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _create_owner_file(file: Path) -> None:
    owner = [socket.gethostname(), os.getpid(), _start_of(os.getpid())]
    for _ in range(2):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            _remove_if_abandoned(file)
            continue
        with os.fdopen(descriptor, "w") as output:
            json.dump(owner, output)
        return
    raise BlockingIOError(0, "locked", str(file))


def _remove_if_abandoned(file: Path) -> None:
    """Remove the file of an owner that has ended on this machine; an owner on another machine cannot be checked."""
    with suppress(FileNotFoundError):
        try:
            host, process, start = json.loads(file.read_text())
        except ValueError:
            if time.time() - file.stat().st_mtime > _UNFINISHED_S:
                file.unlink()
            return
        if host == socket.gethostname() and not _is_running(process, start):
            file.unlink()


def _is_running(process: int, start: str) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        pass
    return _start_of(process) == start


def _start_of(process: int) -> str:
    """Return the start of a process in ticks since the machine was started; an empty string without `/proc`."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
