"""Windows: enough slices of enough specimens, all predicted by one version of a model."""

from collections import Counter
from dataclasses import dataclass, field

from components.shared.contracts import DriftEvent
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import LogEntry
from monitoring.drift.results import window_name


@dataclass(frozen=True, order=True)
class Stream:
    """The predictions of one version of one model."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True)
class Window:
    """A complete window.

    Attributes:
        stream: Model and version that predicted the slices.
        number: Number of the window in its stream, from 1.
        events: Drift events in the order of the log.
    """

    stream: Stream
    number: int
    events: tuple[DriftEvent, ...]

    @property
    def name(self) -> str:
        """Name of the window in files."""
        return window_name(self.stream.model, self.stream.version, self.number)

    @property
    def specimens(self) -> int:
        """Number of specimens."""
        return len({event.specimen for event in self.events})

    def unknown_specimen_ratio(self) -> float | None:
        """Return the share of the named specimens that are flagged as unknown by most of their slices' requests."""
        flags: dict[str, list[bool]] = {}
        for event in self.events:
            if event.specimen_unknown is not None:
                flags.setdefault(event.specimen, []).append(event.specimen_unknown)
        unknown = [sum(of_specimen) > len(of_specimen) / 2 for of_specimen in flags.values()]
        return sum(unknown) / len(unknown) if unknown else None


@dataclass
class PendingWindow:
    """The incomplete window of a stream.

    Attributes:
        stream: Model and version of the window.
        completed_windows: Number of windows that the stream has completed.
        start_offsets: Offset of the window's first line in each event file, in bytes.
        skipped_slices: Number of slices skipped because of `MonitorConfig.max_slices_per_specimen`.
        duplicates: Number of events skipped because the window already has their id.
    """

    stream: Stream
    completed_windows: int = 0
    start_offsets: dict[str, int] = field(default_factory=dict)
    skipped_slices: int = 0
    duplicates: int = 0
    _events: list[DriftEvent] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _slices: Counter[str] = field(default_factory=Counter)

    @property
    def slices(self) -> int:
        """Number of slices."""
        return len(self._events)

    @property
    def specimens(self) -> int:
        """Number of specimens."""
        return len(self._slices)

    def add(self, entry: LogEntry, config: MonitorConfig) -> Window | None:
        """Add an event.

        Returns:
            The window if this event completes it; the next window then starts empty.
        """
        self.start_offsets.setdefault(entry.file, entry.offset)
        event = entry.event
        if event.id in self._ids:
            self.duplicates += 1
            return None
        if self._slices[event.specimen] >= config.max_slices_per_specimen:
            self.skipped_slices += 1
            return None
        self._ids.add(event.id)
        self._slices[event.specimen] += 1
        self._events.append(event)
        if self.slices < config.window_slices or self.specimens < config.window_specimens:
            return None
        return self._complete()

    def _complete(self) -> Window:
        self.completed_windows += 1
        window = Window(self.stream, self.completed_windows, tuple(self._events))
        self.start_offsets, self._events, self._ids, self._slices = {}, [], set(), Counter()
        return window
