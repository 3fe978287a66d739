"""What the monitor remembers, so that a restart counts nothing twice and loses nothing."""

from typing import ClassVar

from pydantic import Field

from components.shared.config import Frozen
from components.shared.contracts import Document
from monitoring.drift.event_log import Position

STATE_FILE = "state.json"


class StreamState(Frozen):
    """How far the windows of one version of a model are.

    Attributes:
        model: name of the model.
        version: of the model.
        closed: windows completed.
        drifted_in_a_row: how many of the latest windows drifted without a clean one between.
        features_in_a_row: the same for each feature.
        begins: where the pending window's first line lies, by file.
    """

    model: str
    version: int
    closed: int
    drifted_in_a_row: int
    features_in_a_row: dict[str, int] = Field(default_factory=dict)
    begins: dict[str, int]


class MonitorState(Document):
    """Everything that a restart needs; the pending windows are read from the event files again.

    Attributes:
        positions: how far each file has been read.
        streams: the versions that have answered.
        answering: the version that answered last, by model.
    """

    SCHEMA: ClassVar[str] = "taxonflow.monitor-state/1"

    positions: dict[str, Position] = Field(default_factory=dict)
    streams: tuple[StreamState, ...] = ()
    answering: dict[str, int] = Field(default_factory=dict)

    def resume(self) -> dict[str, int]:
        """Returns where the oldest pending window begins in each file that holds some of one."""
        found: dict[str, int] = {}
        for stream in self.streams:
            for file, offset in stream.begins.items():
                found[file] = min(offset, found.get(file, offset))
        return found
