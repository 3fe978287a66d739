"""Windows: enough slices of enough specimens that one version of a model answered."""

from collections import Counter
from dataclasses import dataclass, field

from components.shared.contracts import DriftEvent
from monitoring.config import MonitorConfig
from monitoring.drift.event_log import EventAt
from monitoring.drift.results import window_name


@dataclass(frozen=True, order=True)
class Stream:
    """The answers of one version of one model."""

    model: str
    version: int

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True)
class Window:
    """A complete window.

    Attributes:
        stream: who answered.
        number: counts the stream's windows from 1.
        events: the slices, in the order in which they were read.
    """

    stream: Stream
    number: int
    events: tuple[DriftEvent, ...]

    @property
    def name(self) -> str:
        """The window's name in files."""
        return window_name(self.stream.model, self.stream.version, self.number)

    @property
    def specimens(self) -> int:
        """How many specimens there are."""
        return len({event.specimen for event in self.events})


@dataclass
class PendingWindow:
    """The window that a stream is filling.

    Attributes:
        stream: who answers.
        closed: how many windows the stream has completed.
        begins: where the first line of this window lies in each file that holds some of it.
        left_out: slices beyond `MonitorConfig.specimen_slices` of one specimen.
        duplicates: events whose id the window already holds.
    """

    stream: Stream
    closed: int = 0
    begins: dict[str, int] = field(default_factory=dict)
    left_out: int = 0
    duplicates: int = 0
    _events: list[DriftEvent] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)
    _slices: Counter[str] = field(default_factory=Counter)

    @property
    def slices(self) -> int:
        """Slices so far."""
        return len(self._events)

    @property
    def specimens(self) -> int:
        """Specimens so far."""
        return len(self._slices)

    def add(self, item: EventAt, config: MonitorConfig) -> Window | None:
        """Takes an event in.

        Returns:
            The window where this event completes it; the next one then begins empty.
        """
        self.begins.setdefault(item.file, item.begin)
        event = item.event
        if event.id in self._ids:
            self.duplicates += 1
            return None
        if self._slices[event.specimen] >= config.specimen_slices:
            self.left_out += 1
            return None
        self._ids.add(event.id)
        self._slices[event.specimen] += 1
        self._events.append(event)
        if self.slices < config.window_slices or self.specimens < config.window_specimens:
            return None
        return self._close()

    def _close(self) -> Window:
        self.closed += 1
        window = Window(self.stream, self.closed, tuple(self._events))
        self.begins, self._events, self._ids, self._slices = {}, [], set(), Counter()
        return window
