"""The versions of models that are monitored: their reference profiles, their windows, and why others are not."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field

from components.shared.errors import ContractError
from components.shared.model_repository import find_models
from monitoring.config import MonitorConfig
from monitoring.drift.reference import ReferenceProfile, load_profile
from monitoring.drift.results import WindowResult, read_result, window_name
from monitoring.drift.windows import PendingWindow, Stream
from monitoring.service.state import StreamState

MAX_STREAMS = 1000


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

    def state(self) -> StreamState:
        """Return the state that a restart needs."""
        window = self.pending_window
        return StreamState(
            model=window.stream.model,
            version=window.stream.version,
            completed_windows=window.completed_windows,
            consecutive_drifted=self.consecutive_drifted,
            consecutive_by_feature=self.consecutive_by_feature,
            start_offsets=window.start_offsets,
        )


class MonitoredVersions:
    """The monitored versions; a version is loaded when it is first asked for, and tried again at every poll.

    Args:
        config: Configuration of the monitor.
        states: States of the versions that an earlier run has monitored.

    Attributes:
        load_errors: Reason for each version that cannot be loaded.
    """

    def __init__(self, config: MonitorConfig, states: Iterable[StreamState]) -> None:
        self._config = config
        self._versions: dict[Stream, MonitoredVersion] = {}
        self._earlier_states = {Stream(each.model, each.version): each for each in states}
        self._retries: set[Stream] = set()
        self.load_errors: dict[Stream, str] = {}

    def __getitem__(self, stream: Stream) -> MonitoredVersion:
        return self._versions[stream]

    def retry_failed(self) -> None:
        """Load each failed version again when it is next asked for."""
        self._retries = set(self.load_errors)

    def find(self, stream: Stream) -> MonitoredVersion | None:
        """Return a version, or None if it cannot be loaded."""
        if stream in self._versions:
            return self._versions[stream]
        if (stream in self.load_errors and stream not in self._retries) or len(self.load_errors) >= MAX_STREAMS:
            return None
        self._retries.discard(stream)
        try:
            profile = self._load(stream)
        except ContractError as error:
            if self.load_errors.get(stream) != str(error):
                warn(f"{stream} is not monitored: {error}")
            self.load_errors[stream] = str(error)
            return None
        self.load_errors.pop(stream, None)
        self._versions[stream] = self._restored(MonitoredVersion(profile, PendingWindow(stream)))
        return self._versions[stream]

    def pending_windows(self) -> list[PendingWindow]:
        """Return the incomplete window of each version."""
        return [version.pending_window for version in self._versions.values()]

    def states(self) -> tuple[StreamState, ...]:
        """Return the states of all versions, with those of an earlier run that are not loaded yet."""
        states = {stream: version.state() for stream, version in self._versions.items()}
        return tuple(state for _, state in sorted({**self._earlier_states, **states}.items()))

    def _load(self, stream: Stream) -> ReferenceProfile:
        repository = self._config.repository
        if stream.version not in find_models(repository).get(stream.model, []):
            raise ContractError(
                f"{repository} has no {stream}", "every version with drift events", "Publish the version again."
            )
        return load_profile(repository, stream.model, stream.version, self._config.max_reference_slices)

    def _restored(self, version: MonitoredVersion) -> MonitoredVersion:
        stream = version.pending_window.stream
        state = self._earlier_states.pop(stream, None)
        if state:
            version.pending_window.completed_windows = state.completed_windows
            version.consecutive_drifted = state.consecutive_drifted
            version.consecutive_by_feature = state.consecutive_by_feature
            name = window_name(stream.model, stream.version, state.completed_windows)
            version.latest = read_result(self._config.out, name)
        return version


def warn(message: str) -> None:
    """Write a warning to the log of the monitor."""
    sys.stderr.write(f"[monitor] {message}\n")
    sys.stderr.flush()
