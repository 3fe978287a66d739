"""What the monitor shows of itself: an immutable snapshot that another thread may read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from monitoring.drift.results import WindowResult

TOO_LITTLE, NO_DRIFT, DRIFT, SUSTAINED = "too_little_data", "no_drift", "drift", "sustained_drift"
STATES = (TOO_LITTLE, NO_DRIFT, DRIFT, SUSTAINED)
FAULTS = ("corrupt_line", "replaced_file", "no_reference", "missing_descriptor", "disk", "clock_back")


@dataclass(frozen=True)
class ModelStatus:
    """One model as it is watched.

    Attributes:
        model: its name.
        version: the version that answered last.
        state: one of STATES, of that version's latest window.
        pending_slices: slices of the window that is being filled.
        pending_specimens: specimens of it.
        windows: windows that the version has completed.
        drifted_in_a_row: how many of the latest windows drifted without a clean one between.
        features_in_a_row: the same for each feature of the latest window.
        result: the latest window, or None.
    """

    model: str
    version: int
    state: str
    pending_slices: int
    pending_specimens: int
    windows: int
    drifted_in_a_row: int
    features_in_a_row: Mapping[str, int]
    result: WindowResult | None


@dataclass(frozen=True)
class MonitorStatus:
    """Everything that `/metrics` shows.

    Attributes:
        models: those that answered, by name.
        read_at: when the event files were last looked at, seconds since 1970.
        events: events taken in by this process.
        duplicates: events left out because their window holds their id already.
        left_out: events left out because their specimen fills its share of the window.
        faults: how often each of FAULTS was met.
    """

    models: tuple[ModelStatus, ...] = ()
    read_at: float = 0.0
    events: int = 0
    duplicates: int = 0
    left_out: int = 0
    faults: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(FAULTS, 0))


def state_of(windows: int, drifted_in_a_row: int, sustained_windows: int) -> str:
    """Returns the one of STATES after so many windows, of which the latest ones drifted."""
    if not windows:
        return TOO_LITTLE
    if drifted_in_a_row >= sustained_windows:
        return SUSTAINED
    return DRIFT if drifted_in_a_row else NO_DRIFT
