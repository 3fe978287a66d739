"""Processes beside this one, on this machine."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.shared.errors import BadConfigError

TERMINATION_GRACE_S = 20.0
HOST = "127.0.0.1"


@contextmanager
def terminated_at_exit(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Asks a process to end when the block does, and ends it where it does not within TERMINATION_GRACE_S."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(TERMINATION_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def background_process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program for the length of the block; what it says is appended to a log."""
    with (
        log.open("ab") as output,
        terminated_at_exit(subprocess.Popen(command, stdout=output, stderr=output)) as process,
    ):
        yield process


def free_port(wanted: int = 0) -> int:
    """Returns the wanted port of HOST, or another one where it is taken.

    Raises:
        BadConfigError: none is free.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BadConfigError(f"no port of {HOST} is free", "one", "End other programs.")
