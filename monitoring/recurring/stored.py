"""The monitor's check on traffic that is stored: the latest windows of a model, judged as they were when they came."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from components.shared.contracts import DriftEvent
from components.shared.errors import BadInputError
from components.shared.model_repository import require_models
from monitoring.config import MonitorConfig
from monitoring.drift.detector import Judgement, judge
from monitoring.drift.event_log import EventLog
from monitoring.drift.reference import load_profile
from monitoring.drift.status import state_of
from monitoring.drift.windows import PendingWindow, Stream, Window


@dataclass
class _Traffic:
    """What one version answered: the latest complete windows and the one being filled."""

    pending: PendingWindow
    windows: deque[Window] = field(default_factory=deque)


@dataclass(frozen=True)
class StoredCheck:
    """What the latest windows of the version that answered last came to.

    Attributes:
        version: of the model.
        state: as the monitor names it.
        in_a_row: windows in a row that drifted, the latest included.
        windows: the latest ones, oldest first.
        judgements: of these windows.
        pending: slices that fill no window yet.
    """

    version: int
    state: str
    in_a_row: int
    windows: tuple[Window, ...]
    judgements: tuple[Judgement, ...]
    pending: int

    @property
    def drifted_events(self) -> tuple[DriftEvent, ...]:
        """The slices of the windows in a row that drifted."""
        drifted = self.windows[len(self.windows) - self.in_a_row :]
        return tuple(event for window in drifted for event in window.events)


def check_stored(config: MonitorConfig, model: str, most_windows: int) -> StoredCheck:
    """Judges the latest windows of the stored traffic.

    Args:
        config: of the monitor; nothing is written to its `out`.
        model: its name.
        most_windows: how many windows are judged at most.

    Raises:
        BadInputError: the repository holds no such model.
        ContractError: the reference of the version that answered last cannot be read.
    """
    versions = require_models(config.repository).get(model)
    if not versions:
        raise BadInputError(f"{config.repository} holds no model {model!r}", "the name of a served model")
    traffic, last = _stored_traffic(config, model, most_windows)
    version = last if last is not None else versions[-1]
    found = traffic.get(version, _Traffic(PendingWindow(Stream(model, version))))
    windows = tuple(found.windows)
    judgements = _judged(windows, config)
    in_a_row = _drifted_at_the_end(judgements)
    state = state_of(len(judgements), in_a_row, config.sustained_windows)
    return StoredCheck(version, state, in_a_row, windows, judgements, found.pending.slices)


def _stored_traffic(config: MonitorConfig, model: str, most: int) -> tuple[dict[int, _Traffic], int | None]:
    """Returns each version's traffic, and the version of the latest answer; None where there was none."""
    traffic: dict[int, _Traffic] = {}
    latest = (0.0, -1)
    for item in EventLog(config.events, {}, {}).read():
        event = item.event
        if event.model != model:
            continue
        latest = max(latest, (event.time, event.version))
        found = traffic.setdefault(
            event.version, _Traffic(PendingWindow(Stream(model, event.version)), deque(maxlen=most))
        )
        if window := found.pending.add(item, config):
            found.windows.append(window)
    return traffic, latest[1] if traffic else None


def _judged(windows: Sequence[Window], config: MonitorConfig) -> tuple[Judgement, ...]:
    if not windows:
        return ()
    stream = windows[0].stream
    profile = load_profile(config.repository, stream.model, stream.version, config.reference_slices)
    return tuple(judge(window, profile, config) for window in windows)


def _drifted_at_the_end(judgements: Sequence[Judgement]) -> int:
    return len(list(takewhile(lambda each: each.result.drifted, reversed(judgements))))
