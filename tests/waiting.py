"""Waiting for a condition or the end of a process in tests."""

import subprocess
import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0, pause_s: float = 0.02) -> None:
    """Wait until a condition is true; raise AssertionError after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"the condition is still false after {timeout_s:g} s"
        time.sleep(pause_s)


def end_of(process: subprocess.Popen[str], timeout_s: float = 60.0) -> tuple[int | None, str]:
    """Wait until a process ends, and end it after the timeout.

    Args:
        process: Process whose standard output is a pipe.
        timeout_s: Most seconds to wait.

    Returns:
        The exit code, None if the process did not end by itself, and its standard output.
    """
    try:
        output = process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        return None, process.communicate()[0]
    return process.returncode, output
