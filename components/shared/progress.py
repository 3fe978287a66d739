"""Log lines, and the progress of long work as log lines that `pipelines.local` displays as bars.

A progress line is ``[step] done/total unit`` with an optional remark; each reporter prints at most five a second.
"""

import sys
import time


def log(step: str, sentence: str) -> None:
    """Write the line ``[step] sentence`` to standard output and flush it.

    Args:
        step: Name of the step or command, for example ``ingest``.
        sentence: One line of text.
    """
    sys.stdout.write(f"[{step}] {sentence}\n")
    sys.stdout.flush()


class Progress:
    """A progress reporter.

    Args:
        step: Name of the step, for example ``ingest`` or ``train cnn_small``.
        total: Number of units.
        unit: Name of the unit, in the plural.
    """

    _MIN_INTERVAL_S = 0.2

    def __init__(self, step: str, total: int, unit: str) -> None:
        self.step, self.total, self.unit = step, total, unit
        self.done = 0
        self._last_line_at = 0.0

    def advance(self, count: int = 1, remark: str = "") -> None:
        """Count units as done, and print a line unless the last one is too recent."""
        self.done += count
        now = time.monotonic()
        if self.done < self.total and now - self._last_line_at < self._MIN_INTERVAL_S:
            return
        self._last_line_at = now
        log(self.step, f"{self.done}/{self.total} {self.unit}{', ' + remark if remark else ''}")
