"""The watch itself: event files in, judged windows out."""

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.contracts import DriftEvent
from components.shared.errors import ContractError
from components.shared.model_repository import find_models, require_models
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import EventAt, EventLog
from monitoring.drift.reference import Profile, load_profile
from monitoring.drift.results import WindowResult, read_result, report_path, window_name
from monitoring.drift.sentences import counted
from monitoring.drift.status import FAULTS, ModelStatus, MonitorStatus, state_of
from monitoring.drift.windows import PendingWindow, Stream, Window
from monitoring.service.state import STATE_FILE, MonitorState, StreamState

MAX_STREAMS = 1000
LATE_S = 10.0
"""Events of one file lie in the order of their answers, but for the moments that requests overtake one another by."""


@dataclass
class Watched:
    """One version of a model that answers, with its reference."""

    profile: Profile
    pending: PendingWindow
    drifted_in_a_row: int = 0
    features_in_a_row: dict[str, int] = field(default_factory=dict)
    latest: WindowResult | None = None
    missing: frozenset[str] = frozenset()

    def take(self, result: WindowResult) -> None:
        """Makes a window the latest one."""
        self.latest = result
        self.drifted_in_a_row = self.drifted_in_a_row + 1 if result.drifted else 0
        self.features_in_a_row = {
            each.feature: self.features_in_a_row.get(each.feature, 0) + 1 if each.drifted else 0
            for each in result.features
        }


class Monitor:
    """Follows the drift events and judges each window as soon as it is complete.

    Args:
        config: the configuration.

    Raises:
        BadInputError: the repository holds no model.
        ContractError: the remembered state, or every model's reference, cannot be read.

    Attributes:
        status: what `/metrics` shows; replaced as a whole after each `poll`.
    """

    def __init__(self, config: MonitorConfig) -> None:
        self.config = config
        self.status = MonitorStatus()
        self._faults: Counter[str] = Counter()
        self._events = 0
        self._answering: dict[str, Stream] = {}
        self._watched: dict[Stream, Watched] = {}
        self._unwatched: dict[Stream, str] = {}
        self._to_try_again: set[Stream] = set()
        self._latest_times: dict[str, float] = {}
        state_path = config.out / STATE_FILE
        state = MonitorState.read(state_path) if state_path.exists() else MonitorState()
        self._log = EventLog(config.events, state.positions, state.resume())
        self._begins_before = {Stream(each.model, each.version): each.begins for each in state.streams}
        self._require_a_reference()
        for remembered in state.streams:
            self._restore(remembered, state.answering)
        self._publish()

    def poll(self) -> list[WindowResult]:
        """Reads what is new and judges the windows that it completes.

        Returns:
            The windows' results, in order.
        """
        before, damaged = dict(self._log.positions), self._log.corrupt_lines
        self._to_try_again = set(self._unwatched)
        results = [result for item in self._log.read() if (result := self._take(item))]
        if self._log.corrupt_lines > damaged:
            _warn(f"left out {counted(self._log.corrupt_lines - damaged, 'damaged line')} of {self.config.events}")
        if self._log.positions != before:
            self._save()
        self._publish()
        return results

    def report_of(self, result: WindowResult) -> Path:
        """Returns where a window's HTML report lies."""
        return report_path(self.config.out, result.name)

    def _require_a_reference(self) -> None:
        """Refuses to start where no model's newest version can be watched: nobody would notice otherwise."""
        failures = []
        for model, versions in require_models(self.config.repository).items():
            watched = self._watch(Stream(model, versions[-1]))
            if watched:
                self._answering[model] = watched.pending.stream
            else:
                failures.append(self._unwatched[Stream(model, versions[-1])])
        if not self._answering:
            raise ContractError(failures[0])

    def _restore(self, remembered: StreamState, answering: Mapping[str, int]) -> None:
        stream = Stream(remembered.model, remembered.version)
        watched = self._watch(stream)
        if watched is None:
            return
        if answering.get(stream.model) == stream.version:
            self._answering[stream.model] = stream
        watched.pending.closed = remembered.closed
        watched.drifted_in_a_row = remembered.drifted_in_a_row
        watched.features_in_a_row = remembered.features_in_a_row
        watched.latest = read_result(self.config.out, window_name(stream.model, stream.version, remembered.closed))

    def _take(self, item: EventAt) -> WindowResult | None:
        stream = Stream(item.event.model, item.event.version)
        begins = self._begins_before.get(stream, {})
        if item.again and item.begin < begins.get(item.file, item.begin + 1):
            return None
        if not item.again:
            self._look_at_the_clock(item)
        watched = self._watch(stream)
        if watched is None:
            self._faults["no_reference"] += 1
            return None
        self._events += 1
        self._answering[stream.model] = stream
        self._look_for_descriptors(item.event, watched)
        window = watched.pending.add(item, self.config)
        return self._judge(window, watched) if window else None

    def _look_at_the_clock(self, item: EventAt) -> None:
        """Notices a server's clock that went back: windows go on in the order of the log, but their times lie."""
        latest, now = self._latest_times.get(item.file, 0.0), item.event.time
        if now < latest - LATE_S:
            self._faults["clock_back"] += 1
            _warn(f"the clock of {item.file} went back by {latest - now:.0f} s; windows follow the order of its lines")
        if abs(now - latest) > LATE_S or now > latest:
            self._latest_times[item.file] = now

    def _look_for_descriptors(self, event: DriftEvent, watched: Watched) -> None:
        """Notices a server that measures less than the reference: its windows are judged by what all slices have."""
        missing = frozenset(watched.profile.described) - event.descriptors.keys()
        if not missing:
            return
        self._faults["missing_descriptor"] += 1
        if not missing <= watched.missing:
            watched.missing |= missing
            named = ", ".join(sorted(missing))
            _warn(f"answers of {watched.pending.stream} lack {named}, which the reference has: not watched meanwhile")

    def _watch(self, stream: Stream) -> Watched | None:
        if stream in self._watched:
            return self._watched[stream]
        if (stream in self._unwatched and stream not in self._to_try_again) or len(self._unwatched) >= MAX_STREAMS:
            return None
        self._to_try_again.discard(stream)
        try:
            profile = self._load(stream)
        except ContractError as error:
            if self._unwatched.get(stream) != str(error):
                _warn(f"answers of {stream} are not watched: {error}")
            self._unwatched[stream] = str(error)
            return None
        self._unwatched.pop(stream, None)
        self._watched[stream] = Watched(profile, PendingWindow(stream))
        return self._watched[stream]

    def _load(self, stream: Stream) -> Profile:
        if stream.version not in find_models(self.config.repository).get(stream.model, []):
            raise ContractError(f"{self.config.repository} holds no {stream}", "every version that answers")
        return load_profile(self.config.repository, stream.model, stream.version, self.config.reference_slices)

    def _judge(self, window: Window, watched: Watched) -> WindowResult:
        # Evidently takes seconds and 290 MB to import, which a monitor that still waits for data does not need.
        from monitoring.drift.detector import judge
        from monitoring.service.window_store import write_window
        from monitoring.service.workspace import record_window

        judgement = judge(window, watched.profile, self.config)
        result = judgement.result
        watched.take(result)
        try:
            write_window(judgement, self.config)
            record_window(judgement, self.config)
        except (OSError, ValueError) as error:
            self._fail_on_disk(error)
        self._save()
        self._publish()
        return result

    def _save(self) -> None:
        streams = tuple(
            StreamState(
                model=stream.model,
                version=stream.version,
                closed=watched.pending.closed,
                drifted_in_a_row=watched.drifted_in_a_row,
                features_in_a_row=watched.features_in_a_row,
                begins=watched.pending.begins,
            )
            for stream, watched in sorted(self._watched.items())
        )
        answering = {model: stream.version for model, stream in self._answering.items()}
        state = MonitorState(positions=self._log.positions, streams=streams, answering=answering)
        try:
            state.write(self.config.out / STATE_FILE)
        except OSError as error:
            self._fail_on_disk(error)

    def _fail_on_disk(self, error: OSError | ValueError) -> None:
        self._faults["disk"] += 1
        reason = error.strerror if isinstance(error, OSError) else error
        _warn(f"{self.config.out} cannot be written ({reason}); windows are judged all the same")

    def _publish(self) -> None:
        faults = {
            **dict.fromkeys(FAULTS, 0),
            **self._faults,
            "corrupt_line": self._log.corrupt_lines,
            "replaced_file": self._log.replaced_files,
        }
        pending = [watched.pending for watched in self._watched.values()]
        self.status = MonitorStatus(
            models=tuple(self._model_status(self._watched[stream]) for _, stream in sorted(self._answering.items())),
            read_at=time.time(),
            events=self._events,
            duplicates=sum(each.duplicates for each in pending),
            left_out=sum(each.left_out for each in pending),
            faults=faults,
        )

    def _model_status(self, watched: Watched) -> ModelStatus:
        pending = watched.pending
        return ModelStatus(
            model=pending.stream.model,
            version=pending.stream.version,
            state=state_of(pending.closed, watched.drifted_in_a_row, self.config.sustained_windows),
            pending_slices=pending.slices,
            pending_specimens=pending.specimens,
            windows=pending.closed,
            drifted_in_a_row=watched.drifted_in_a_row,
            features_in_a_row=watched.features_in_a_row,
            result=watched.latest,
        )


def _warn(message: str) -> None:
    sys.stderr.write(f"[monitor] {message}\n")
    sys.stderr.flush()
