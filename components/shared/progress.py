"""Progress of long work, as lines that a log keeps and `pipelines.run` turns into bars.

A line is ``[step] done/total unit`` with an optional remark, at most five a second for each reporter.
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
    """Reports how far a step has come.

    Args:
        step: the step's name, for example ``ingest`` or ``train cnn_small``.
        total: how many units there are.
        unit: what is counted, in the plural.
    """

    _SHORTEST_PAUSE_S = 0.2

    def __init__(self, step: str, total: int, unit: str) -> None:
        self.step, self.total, self.unit = step, total, unit
        self.done = 0
        self._last_line_at = 0.0

    def advance(self, count: int = 1, remark: str = "") -> None:
        """Counts units as done and prints a line unless the last one is too recent."""
        self.done += count
        now = time.monotonic()
        if self.done < self.total and now - self._last_line_at < self._SHORTEST_PAUSE_S:
            return
        self._last_line_at = now
        log(self.step, f"{self.done}/{self.total} {self.unit}{', ' + remark if remark else ''}")
