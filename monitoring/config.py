"""What the monitor can be told."""

from pathlib import Path

from pydantic import Field

from components.shared.config import Frozen


class MonitorConfig(Frozen):
    """Configuration of the monitor.

    Attributes:
        events: folder of `events-*.jsonl` that the server appends to.
        repository: model repository, `<model>/<version>/model.json`.
        out: folder of the reports, the windows' results and the monitor's state.
        window_slices: fewest slices of a window.
        window_specimens: fewest specimens of a window.
        specimen_slices: most slices of one specimen that a window keeps; the rest is counted only.
        false_alarms: share of clean windows that may be called drift, over all features together.
        resamples: pseudo-windows drawn from the reference to calibrate the thresholds.
        reference_slices: most slices of the reference that are compared with, spread evenly over its specimens.
        sustained_windows: drift in this many windows in a row is sustained.
        kept_windows: how many results are kept on disk for each model.
        kept_reports: how many HTML reports of 4 MB are kept on disk for each model.
        kept_snapshots: how many windows of 200 kB Evidently's workspace keeps for each model.
        poll_seconds: pause between two looks at the folder.
        seed: seed of the resampling.
        host: address that `/metrics` listens on.
        port: port that `/metrics` listens on; 0 takes a free one.
        links: addresses that the page for people links to, by name.
    """

    events: Path
    repository: Path
    out: Path
    window_slices: int = Field(default=200, ge=2, le=5000)
    window_specimens: int = Field(default=20, ge=2, le=1000)
    specimen_slices: int = Field(default=500, ge=1)
    false_alarms: float = Field(default=0.01, gt=0, lt=0.5)
    resamples: int = Field(default=2000, ge=100, le=20_000)
    reference_slices: int = Field(default=2000, ge=100)
    sustained_windows: int = Field(default=2, ge=1, le=10)
    kept_windows: int = Field(default=1000, ge=1)
    kept_reports: int = Field(default=20, ge=1)
    kept_snapshots: int = Field(default=200, ge=1)
    poll_seconds: float = Field(default=2.0, gt=0)
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = Field(default=9108, ge=0, le=65535)
    links: dict[str, str] = Field(default_factory=dict)
