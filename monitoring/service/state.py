"""The persistent state of the monitor: a restart loses no event and counts none twice.

It is separate from `window_store`, which imports Evidently: a monitor without a complete window does not need that.
"""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from components.shared.config import Frozen
from components.shared.contracts.document import Document
from monitoring.drift.event_log import Position

STATE_FILE = "state.json"
_EARLIER_SCHEMA = b'"schema": "taxonflow.monitor-state/1"'
_SCHEMA_BYTES = 64


class StreamState(Frozen):
    """The windows of one version of a model.

    Attributes:
        model: Name of the model.
        version: Version of the model.
        completed_windows: Number of completed windows.
        consecutive_drifted: Number of latest windows that drifted without interruption.
        consecutive_by_feature: The same number for each feature.
        start_offsets: Offset of the pending window's first line, by event file.
    """

    model: str
    version: int
    completed_windows: int
    consecutive_drifted: int
    consecutive_by_feature: dict[str, int] = Field(default_factory=dict)
    start_offsets: dict[str, int]


class MonitorState(Document):
    """The state that a restart needs; pending windows are read from the event files again.

    Attributes:
        positions: Read position of each event file.
        streams: Versions with predictions.
        latest_versions: Version of the latest prediction, by model.
    """

    SCHEMA: ClassVar[str] = "taxonflow.monitor-state/2"

    positions: dict[str, Position] = Field(default_factory=dict)
    streams: tuple[StreamState, ...] = ()
    latest_versions: dict[str, int] = Field(default_factory=dict)

    def replay_offsets(self) -> dict[str, int]:
        """Return the offset of the oldest pending window in each event file that has a part of one."""
        offsets: dict[str, int] = {}
        for stream in self.streams:
            for file, offset in stream.start_offsets.items():
                offsets[file] = min(offset, offsets.get(file, offset))
        return offsets


def has_earlier_schema(path: Path) -> bool:
    """Return whether a state file has schema 1, which names the features differently."""
    with path.open("rb") as file:
        return _EARLIER_SCHEMA in file.read(_SCHEMA_BYTES)
