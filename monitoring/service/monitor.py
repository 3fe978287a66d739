"""The monitor: reads event files, evaluates complete windows, and keeps its state."""

import time
from collections import Counter
from pathlib import Path

from components.shared.contracts import DriftEvent
from components.shared.errors import ContractError
from components.shared.model_repository import CARD_FILE, find_models
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import EventLog, LogEntry
from monitoring.drift.model_ids import ModelIds
from monitoring.drift.results import WindowResult, report_path
from monitoring.drift.sentences import pluralize
from monitoring.drift.status import ERROR_KINDS, ModelStatus, MonitorStatus, state_of
from monitoring.drift.windows import Stream, Window
from monitoring.service.model_mirror import ModelMirror
from monitoring.service.monitored_versions import MonitoredVersion, MonitoredVersions, warn
from monitoring.service.state import STATE_FILE, MonitorState, has_earlier_schema

CLOCK_TOLERANCE_S = 10.0
"""Concurrent requests write events to one file slightly out of order; a larger step back is a clock error."""


class Monitor:
    """The drift monitor: evaluates each window as soon as it is complete.

    Without a model that can be monitored it waits: it reads no events, so that none is lost, and looks for a model at
    every poll.

    Args:
        config: Configuration of the monitor.

    Raises:
        BadConfigError: The address of the repository is invalid.
        ContractError: The stored state cannot be read.

    Attributes:
        status: Status for `/metrics`; replaced as a whole after each `poll`.
    """

    def __init__(self, config: MonitorConfig) -> None:
        self.config = config
        self.status = MonitorStatus()
        self._errors: Counter[str] = Counter()
        self._events = 0
        self._latest_streams: dict[str, Stream] = {}
        self._latest_times: dict[str, float] = {}
        self._repository_error = ""
        self._mirror = ModelMirror(config.repository_url, config.repository) if config.repository_url else None
        self._model_ids = ModelIds(config.repository)
        state = self._read_state()
        self._log = EventLog(config.events, state.positions, state.replay_offsets())
        self._start_offsets = {Stream(each.model, each.version): each.start_offsets for each in state.streams}
        self._versions = MonitoredVersions(config, state.streams)
        self._restored_versions = state.latest_versions
        self._find_models()
        self._publish()

    def poll(self) -> list[WindowResult]:
        """Look for models, read the new events and evaluate the windows that they complete.

        Returns:
            The results of these windows, in order.
        """
        positions, corrupt_lines = dict(self._log.positions), self._log.corrupt_lines
        self._versions.retry_failed()
        self._model_ids.forget_unknown()
        self._find_models()
        entries = self._log.read() if self._latest_streams else ()
        results = [result for entry in entries if (result := self._process(entry))]
        if self._log.corrupt_lines > corrupt_lines:
            lines = pluralize(self._log.corrupt_lines - corrupt_lines, "damaged line")
            warn(f"skipped {lines} in {self.config.events}")
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
            warn(f"{path} has an earlier schema than {MonitorState.SCHEMA}: reading the event files from their start")
            return MonitorState()
        return MonitorState.read(path)

    def _find_models(self) -> None:
        """Monitor the newest version of each new model, and the version that an earlier run saw last."""
        self._refresh_mirror()
        for model, versions in find_models(self.config.repository).items():
            if model in self._latest_streams:
                continue
            for version in (self._restored_versions.get(model), versions[-1]):
                stream = Stream(model, version or versions[-1])
                if self._versions.find(stream):
                    self._latest_streams[model] = stream
                    break

    def _refresh_mirror(self) -> None:
        if self._mirror is None:
            return
        try:
            self._mirror.refresh()
        except ContractError as error:
            self._errors["repository"] += 1
            if str(error) != self._repository_error:
                warn(str(error))
            self._repository_error = str(error)
        except OSError as error:
            self._count_disk_error(error)

    def _waiting_reason(self) -> str:
        """Return why no model is monitored; empty if one is."""
        if self._latest_streams:
            return ""
        if self._versions.load_errors:
            return next(iter(self._versions.load_errors.values()))
        where = self.config.repository_url or self.config.repository
        return self._repository_error or f"{where} contains no served model (<model>/<version>/{CARD_FILE})"

    def _process(self, entry: LogEntry) -> WindowResult | None:
        stream = Stream(entry.event.model, self._model_ids.version_of(entry.event))
        start_offsets = self._start_offsets.get(stream, {})
        if entry.is_replay and entry.offset < start_offsets.get(entry.file, entry.offset + 1):
            return None
        if not entry.is_replay:
            self._check_clock(entry)
        version = self._versions.find(stream)
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
            warn(f"{clock_error}; windows follow the order of its lines")
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
            warn(f"{sentence}, which the reference has: not tested for drift")

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
        latest_versions = {model: stream.version for model, stream in self._latest_streams.items()}
        state = MonitorState(
            positions=self._log.positions, streams=self._versions.states(), latest_versions=latest_versions
        )
        try:
            state.write(self.config.out / STATE_FILE)
        except OSError as error:
            self._count_disk_error(error)

    def _count_disk_error(self, error: OSError | ValueError) -> None:
        self._errors["disk_write"] += 1
        reason = error.strerror if isinstance(error, OSError) else error
        warn(f"{self.config.out} cannot be written ({reason}); windows are still evaluated")

    def _publish(self) -> None:
        errors = {
            **dict.fromkeys(ERROR_KINDS, 0),
            **self._errors,
            "corrupt_line": self._log.corrupt_lines,
            "replaced_file": self._log.replaced_files,
        }
        windows = self._versions.pending_windows()
        streams = [stream for _, stream in sorted(self._latest_streams.items())]
        self.status = MonitorStatus(
            models=tuple(self._model_status(self._versions[stream]) for stream in streams),
            waiting_reason=self._waiting_reason(),
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
