"""The time that a local run still needs, estimated from the rate of its current step."""

import math
import time
from collections.abc import Callable

SHARES = {"phantoms": 0.10, "ingest": 0.08, "segment": 0.02, "train": 0.68, "evaluate": 0.10, "deploy": 0.01}
"""Usual share of each step in the time of a run; the rest is the first request."""
_EARLY_STEPS = ("ingest", "segment")
_SMALLEST_PROGRESS = 0.03
_FOLDS, _FEATURES = " folds", "features"


class TimeLeft:
    """Estimate of the seconds to the end of a run.

    The remaining part of a step is extrapolated from its rate so far, and the steps after it from their usual share.
    Before the training, this share is only known of runs on phantoms: the time to read a user's files says little of
    that of the training, which also depends on the number of folds.

    Args:
        backbones: Number of networks that are trained.
        folds: Function that returns the number of folds of the data set, once the step train has begun.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self, backbones: int, folds: Callable[[], int] = lambda: 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._backbones, self._folds, self._clock = backbones, folds, clock
        self._step, self._start, self._trainings = "", clock(), 1
        self._progress: dict[str, tuple[int, float]] = {}
        self._has_phantoms = False

    def start(self, step: str) -> None:
        """Note that a step begins."""
        self._step, self._start, self._progress = step, self._clock(), {}
        self._trainings = 1 + self._folds() if step == "train" else 1
        self._has_phantoms = self._has_phantoms or step == "phantoms"

    def advance(self, task: str, units: int, total: int, text: str = "") -> None:
        """Note the progress of a task of the current step.

        Args:
            task: Name in a line of progress, for example `ingest`, `train cnn_small` or `train cnn_small folds`.
            units: Number of units that are done.
            total: Number of units; the epochs of a network begin again for each fold.
            text: Text that begins with the name of a unit. Features are computed before the epochs and do not count.
        """
        if task.endswith(_FOLDS):
            self._progress[task.removesuffix(_FOLDS)] = (1 + units, 0.0)
            return
        if text.startswith(_FEATURES) or not total:
            return
        trainings, share = self._progress.get(task, (0, 0.0))
        is_next_training = self._step == "train" and units / total < share
        self._progress[task] = (trainings + is_next_training, units / total)

    def seconds(self) -> float | None:
        """Return the seconds to the end of the run; None while too little is known of it."""
        progress = self._step_progress()
        is_early = self._step in _EARLY_STEPS and not self._has_phantoms
        if self._step not in SHARES or is_early or progress < _SMALLEST_PROGRESS:
            return None
        step_s = (self._clock() - self._start) / progress
        steps = list(SHARES)
        later = sum(SHARES[step] for step in steps[steps.index(self._step) + 1 :]) + 1 - sum(SHARES.values())
        return step_s * (1 - progress) + step_s * later / SHARES[self._step]

    def describe(self) -> str:
        """Return the estimate as text for a line of progress; empty if there is none."""
        seconds = self.seconds()
        if seconds is None:
            return ""
        if seconds < 60:
            return "less than a minute left in all"
        return f"about {math.ceil(seconds / 60)} min left in all"

    def _step_progress(self) -> float:
        """Return the share of the current step that is done, 0..1."""
        if self._step != "train":
            return max((share for _, share in self._progress.values()), default=0.0)
        shares = [min((trainings + share) / self._trainings, 1.0) for trainings, share in self._progress.values()]
        if len(shares) < self._backbones:
            return sum(shares) / self._backbones
        return min(shares)  # networks are trained side by side
