"""Child processes and free ports on the local machine."""

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
    """Terminate a process at the end of the block, and kill it if it is still running after TERMINATION_GRACE_S."""
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
    """Run a program for the duration of the block and append its output to a log file."""
    with (
        log.open("ab") as output,
        terminated_at_exit(subprocess.Popen(command, stdout=output, stderr=output)) as process,
    ):
        yield process


def free_port(preference: int = 0) -> int:
    """Return the preferred port of HOST, or another one if it is in use.

    Raises:
        BadConfigError: No port is free.
    """
    for port in (preference, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise BadConfigError(f"no port of {HOST} is free", "one free port", "Stop other programs that listen on ports.")
