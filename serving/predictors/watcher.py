"""Looks into the repository once a second and has the predictor load what is new."""

import threading
from collections.abc import Callable

POLL_S = 1.0


class RepositoryWatcher:
    """Calls a function again and again from a thread of its own.

    Args:
        refresh: does the work; when it fails, the reason is reported and the next turn tries again.
        report: takes the reason, once until it changes.
        pause_s: between two turns.
    """

    def __init__(self, refresh: Callable[[], None], report: Callable[[str], None], pause_s: float = POLL_S) -> None:
        self._refresh, self._report, self._pause_s = refresh, report, pause_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="repository-watcher", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 20.0) -> None:
        """Ends the thread after its turn, waiting at most `timeout_s`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _watch(self) -> None:
        last_reason = ""
        while not self._stopping.is_set():
            try:
                self._refresh()
            except Exception as error:  # a watcher that dies would serve an old model for ever without a word
                reason = f"the repository cannot be read: {error}"
                if reason != last_reason:
                    self._report(reason)
                last_reason = reason
            self._stopping.wait(self._pause_s)
