"""Waiting for a condition in tests."""

import time
from collections.abc import Callable


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0, pause_s: float = 0.02) -> None:
    """Wait until a condition is true; raise AssertionError after the timeout."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"the condition is still false after {timeout_s:g} s"
        time.sleep(pause_s)
