"""Log lines, and the progress of long work as log lines that `pipelines.local` displays as bars.

A progress line is ``[step] done/total unit`` with an optional remark. On a terminal and in a local run a reporter
prints at most five a second; in any other log one for every tenth of the work, and one after 30 s without a line.
"""

import logging
import os
import sys
import time

PROGRESS_VARIABLE = "TAXONFLOW_PROGRESS_S"
"""Environment variable with the seconds between two progress lines; a local run sets it for its bars."""
_TERMINAL_S, _LOG_S, _LOG_LINES = 0.2, 30.0, 10
_LIBRARIES = ("absl", "aiobotocore", "botocore", "httpcore", "httpx", "kubernetes", "matplotlib", "s3fs", "urllib3")


def log(step: str, sentence: str) -> None:
    """Write the line ``[step] sentence`` to standard output and flush it.

    Args:
        step: Name of the step or command, for example ``ingest``.
        sentence: One line of text.
    """
    sys.stdout.write(f"[{step}] {sentence}\n")
    sys.stdout.flush()


def quiet_libraries() -> None:
    """Limit the logs of libraries to warnings; Kubeflow shows messages of level INFO, one for each HTTP request."""
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


class Progress:
    """A progress reporter.

    Args:
        step: Name of the step, for example ``ingest`` or ``train cnn_small``.
        total: Number of units.
        unit: Name of the unit, in the plural.
    """

    def __init__(self, step: str, total: int, unit: str) -> None:
        self.step, self.total, self.unit = step, total, unit
        self.done = 0
        self._interval_s, self._line_units = _line_interval(), float("inf")
        if self._interval_s == _LOG_S:
            self._line_units = total / _LOG_LINES
        self._last_line_at, self._last_line_done = 0.0, 0

    def advance(self, count: int = 1, remark: str = "") -> None:
        """Count units as done, and print a line unless the last one is too recent."""
        self.done += count
        now = time.monotonic()
        is_due = now - self._last_line_at >= self._interval_s or self.done - self._last_line_done >= self._line_units
        if self.done < self.total and not is_due:
            return
        self._last_line_at, self._last_line_done = now, self.done
        log(self.step, f"{self.done}/{self.total} {self.unit}{', ' + remark if remark else ''}")


def _line_interval() -> float:
    """Return the seconds between two progress lines."""
    if os.environ.get(PROGRESS_VARIABLE):
        return float(os.environ[PROGRESS_VARIABLE])
    return _TERMINAL_S if sys.stdout.isatty() else _LOG_S
