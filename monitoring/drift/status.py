"""The status of the monitor: an immutable snapshot that other threads may read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.drift.results import WindowResult

INSUFFICIENT_DATA, NO_DRIFT, DRIFT, SUSTAINED_DRIFT = "insufficient_data", "no_drift", "drift", "sustained_drift"
STATES = (INSUFFICIENT_DATA, NO_DRIFT, DRIFT, SUSTAINED_DRIFT)
ERROR_KINDS = (
    "corrupt_line",
    "replaced_file",
    "missing_reference",
    "missing_descriptor",
    "disk_write",
    "clock_backwards",
    "repository",
)


@dataclass(frozen=True)
class ModelStatus:
    """The drift status of a model.

    Attributes:
        model: Name of the model.
        version: Version of the latest prediction.
        state: One of STATES, for the latest window of this version.
        pending_slices: Number of slices in the incomplete window.
        pending_specimens: Number of specimens in the incomplete window.
        windows: Number of windows that the version has completed.
        consecutive_drifted: Number of latest windows that drifted without interruption.
        consecutive_by_feature: The same number for each feature of the latest window.
        result: Result of the latest window, or None.
    """

    model: str
    version: int
    state: str
    pending_slices: int
    pending_specimens: int
    windows: int
    consecutive_drifted: int
    consecutive_by_feature: Mapping[str, int]
    result: WindowResult | None


@dataclass(frozen=True)
class MonitorStatus:
    """The status that `/metrics` exports.

    Attributes:
        models: Status of each model with predictions, in the order of their names.
        read_at: Time of the latest read of the event files, in seconds since 1970.
        events: Number of events used by this process.
        duplicates: Number of events skipped because their window already has their id.
        skipped_events: Number of events skipped because their specimen has reached its limit in the window.
        errors: Number of errors by kind, for each of ERROR_KINDS.
        waiting_reason: Reason for which no model is monitored; empty if one is.
    """

    models: tuple[ModelStatus, ...] = ()
    read_at: float = 0.0
    events: int = 0
    duplicates: int = 0
    skipped_events: int = 0
    errors: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ERROR_KINDS, 0))
    waiting_reason: str = ""


def state_of(windows: int, consecutive_drifted: int, sustained_windows: int) -> str:
    """Return the state after a number of windows, the latest of which drifted consecutively."""
    if not windows:
        return INSUFFICIENT_DATA
    if consecutive_drifted >= sustained_windows:
        return SUSTAINED_DRIFT
    return DRIFT if consecutive_drifted else NO_DRIFT
