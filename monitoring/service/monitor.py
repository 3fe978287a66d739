"""The monitor: reads event files, evaluates complete windows, and keeps its state."""

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
from monitoring.drift.event_log import EventLog, LogEntry
from monitoring.drift.reference import ReferenceProfile, load_profile
from monitoring.drift.results import WindowResult, read_result, report_path, window_name
from monitoring.drift.sentences import pluralize
from monitoring.drift.status import ERROR_KINDS, ModelStatus, MonitorStatus, state_of
from monitoring.drift.windows import PendingWindow, Stream, Window
from monitoring.service.state import STATE_FILE, MonitorState, StreamState, has_earlier_schema

MAX_STREAMS = 1000
CLOCK_TOLERANCE_S = 10.0
"""Concurrent requests write events to one file slightly out of order; a larger step back is a clock error."""


@dataclass
class MonitoredVersion:
    """One version of a model with its reference profile and its windows."""

    profile: ReferenceProfile
    pending_window: PendingWindow
    consecutive_drifted: int = 0
    consecutive_by_feature: dict[str, int] = field(default_factory=dict)
    latest: WindowResult | None = None
    missing_descriptors: frozenset[str] = frozenset()

    def update(self, result: WindowResult) -> None:
        """Record the result of the latest window."""
        self.latest = result
        self.consecutive_drifted = self.consecutive_drifted + 1 if result.drifted else 0
        self.consecutive_by_feature = {
            each.feature: self.consecutive_by_feature.get(each.feature, 0) + 1 if each.drifted else 0
            for each in result.features
        }


class Monitor:
    """The drift monitor: evaluates each window as soon as it is complete.

    Args:
        config: Configuration of the monitor.

    Raises:
        BadInputError: The repository has no model.
        ContractError: The stored state, or the reference profile of every model, cannot be read.

    Attributes:
        status: Status for `/metrics`; replaced as a whole after each `poll`.
    """

    def __init__(self, config: MonitorConfig) -> None:
        self.config = config
        self.status = MonitorStatus()
        self._errors: Counter[str] = Counter()
        self._events = 0
        self._latest_streams: dict[str, Stream] = {}
        self._versions: dict[Stream, MonitoredVersion] = {}
        self._load_errors: dict[Stream, str] = {}
        self._retries: set[Stream] = set()
        self._latest_times: dict[str, float] = {}
        state = self._read_state()
        self._log = EventLog(config.events, state.positions, state.replay_offsets())
        self._start_offsets = {Stream(each.model, each.version): each.start_offsets for each in state.streams}
        self._load_newest_versions()
        for stream_state in state.streams:
            self._restore(stream_state, state.latest_versions)
        self._publish()

    def poll(self) -> list[WindowResult]:
        """Read the new events and evaluate the windows that they complete.

        Returns:
            The results of these windows, in order.
        """
        positions, corrupt_lines = dict(self._log.positions), self._log.corrupt_lines
        self._retries = set(self._load_errors)
        results = [result for entry in self._log.read() if (result := self._process(entry))]
        if self._log.corrupt_lines > corrupt_lines:
            lines = pluralize(self._log.corrupt_lines - corrupt_lines, "damaged line")
            _warn(f"skipped {lines} in {self.config.events}")
        if self._log.positions != positions:
            self._save()
        self._publish()
        return results

    def report_of(self, result: WindowResult) -> Path:
        """Return the path of a window's HTML report."""
        return report_path(self.config.out, result.name)

    def _read_state(self) -> MonitorState:
        path = self.config.out / STATE_FILE
        if not path.exists():
            return MonitorState()
        if has_earlier_schema(path):
            _warn(f"{path} has an earlier schema than {MonitorState.SCHEMA}: reading the event files from their start")
            return MonitorState()
        return MonitorState.read(path)

    def _load_newest_versions(self) -> None:
        """Load the newest version of each model; raise ContractError if none can be monitored."""
        failures = []
        for model, versions in require_models(self.config.repository).items():
            stream = Stream(model, versions[-1])
            if self._version(stream):
                self._latest_streams[model] = stream
            else:
                failures.append(self._load_errors[stream])
        if not self._latest_streams:
            raise ContractError(failures[0])

    def _restore(self, stream_state: StreamState, latest_versions: Mapping[str, int]) -> None:
        stream = Stream(stream_state.model, stream_state.version)
        version = self._version(stream)
        if version is None:
            return
        if latest_versions.get(stream.model) == stream.version:
            self._latest_streams[stream.model] = stream
        version.pending_window.completed_windows = stream_state.completed_windows
        version.consecutive_drifted = stream_state.consecutive_drifted
        version.consecutive_by_feature = stream_state.consecutive_by_feature
        name = window_name(stream.model, stream.version, stream_state.completed_windows)
        version.latest = read_result(self.config.out, name)

    def _process(self, entry: LogEntry) -> WindowResult | None:
        stream = Stream(entry.event.model, entry.event.version)
        start_offsets = self._start_offsets.get(stream, {})
        if entry.is_replay and entry.offset < start_offsets.get(entry.file, entry.offset + 1):
            return None
        if not entry.is_replay:
            self._check_clock(entry)
        version = self._version(stream)
        if version is None:
            self._errors["missing_reference"] += 1
            return None
        self._events += 1
        self._latest_streams[stream.model] = stream
        self._check_descriptors(entry.event, version)
        window = version.pending_window.add(entry, self.config)
        return self._evaluate(window, version) if window else None

    def _check_clock(self, entry: LogEntry) -> None:
        """Count a server clock that moved backwards. Windows follow the order of the log, but their times are wrong."""
        latest, event_time = self._latest_times.get(entry.file, 0.0), entry.event.time
        if event_time < latest - CLOCK_TOLERANCE_S:
            self._errors["clock_backwards"] += 1
            clock_error = f"the clock of {entry.file} moved back by {latest - event_time:.0f} s"
            _warn(f"{clock_error}; windows follow the order of its lines")
        if abs(event_time - latest) > CLOCK_TOLERANCE_S or event_time > latest:
            self._latest_times[entry.file] = event_time

    def _check_descriptors(self, event: DriftEvent, version: MonitoredVersion) -> None:
        """Count events without all descriptors of the reference. Windows use the descriptors that all events have."""
        names = frozenset(version.profile.descriptor_names) - event.descriptors.keys()
        if not names:
            return
        self._errors["missing_descriptor"] += 1
        if not names <= version.missing_descriptors:
            version.missing_descriptors |= names
            sentence = f"events of {version.pending_window.stream} lack {', '.join(sorted(names))}"
            _warn(f"{sentence}, which the reference has: not tested for drift")

    def _version(self, stream: Stream) -> MonitoredVersion | None:
        if stream in self._versions:
            return self._versions[stream]
        if (stream in self._load_errors and stream not in self._retries) or len(self._load_errors) >= MAX_STREAMS:
            return None
        self._retries.discard(stream)
        try:
            profile = self._load(stream)
        except ContractError as error:
            if self._load_errors.get(stream) != str(error):
                _warn(f"events of {stream} are not monitored: {error}")
            self._load_errors[stream] = str(error)
            return None
        self._load_errors.pop(stream, None)
        self._versions[stream] = MonitoredVersion(profile, PendingWindow(stream))
        return self._versions[stream]

    def _load(self, stream: Stream) -> ReferenceProfile:
        if stream.version not in find_models(self.config.repository).get(stream.model, []):
            raise ContractError(
                f"{self.config.repository} has no {stream}",
                "every version with drift events",
                "Publish the version again.",
            )
        return load_profile(self.config.repository, stream.model, stream.version, self.config.max_reference_slices)

    def _evaluate(self, window: Window, version: MonitoredVersion) -> WindowResult:
        # Evidently takes seconds and 290 MB to import, which a monitor without a complete window does not need.
        from monitoring.drift.detector import evaluate_window
        from monitoring.service.window_store import record_window, write_window

        verdict = evaluate_window(window, version.profile, self.config)
        version.update(verdict.result)
        try:
            write_window(verdict, self.config)
            record_window(verdict, self.config)
        except (OSError, ValueError) as error:
            self._count_disk_error(error)
        self._save()
        self._publish()
        return verdict.result

    def _save(self) -> None:
        streams = tuple(
            StreamState(
                model=stream.model,
                version=stream.version,
                completed_windows=version.pending_window.completed_windows,
                consecutive_drifted=version.consecutive_drifted,
                consecutive_by_feature=version.consecutive_by_feature,
                start_offsets=version.pending_window.start_offsets,
            )
            for stream, version in sorted(self._versions.items())
        )
        latest_versions = {model: stream.version for model, stream in self._latest_streams.items()}
        state = MonitorState(positions=self._log.positions, streams=streams, latest_versions=latest_versions)
        try:
            state.write(self.config.out / STATE_FILE)
        except OSError as error:
            self._count_disk_error(error)

    def _count_disk_error(self, error: OSError | ValueError) -> None:
        self._errors["disk_write"] += 1
        reason = error.strerror if isinstance(error, OSError) else error
        _warn(f"{self.config.out} cannot be written ({reason}); windows are still evaluated")

    def _publish(self) -> None:
        errors = {
            **dict.fromkeys(ERROR_KINDS, 0),
            **self._errors,
            "corrupt_line": self._log.corrupt_lines,
            "replaced_file": self._log.replaced_files,
        }
        windows = [version.pending_window for version in self._versions.values()]
        streams = [stream for _, stream in sorted(self._latest_streams.items())]
        self.status = MonitorStatus(
            models=tuple(self._model_status(self._versions[stream]) for stream in streams),
            read_at=time.time(),
            events=self._events,
            duplicates=sum(each.duplicates for each in windows),
            skipped_events=sum(each.skipped_slices for each in windows),
            errors=errors,
        )

    def _model_status(self, version: MonitoredVersion) -> ModelStatus:
        window = version.pending_window
        return ModelStatus(
            model=window.stream.model,
            version=window.stream.version,
            state=state_of(window.completed_windows, version.consecutive_drifted, self.config.sustained_windows),
            pending_slices=window.slices,
            pending_specimens=window.specimens,
            windows=window.completed_windows,
            consecutive_drifted=version.consecutive_drifted,
            consecutive_by_feature=version.consecutive_by_feature,
            result=version.latest,
        )


def _warn(message: str) -> None:
    sys.stderr.write(f"[monitor] {message}\n")
    sys.stderr.flush()
