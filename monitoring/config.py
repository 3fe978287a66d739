"""The configuration of the monitor."""

from pathlib import Path

from pydantic import Field

from components.shared.config import Frozen


class MonitorConfig(Frozen):
    """Configuration of the monitor.

    Attributes:
        events: Folder with the server's event files, `events-*.jsonl`.
        repository: Folder of the model repository, `<model>/<version>/model.json`.
        repository_url: Address of a repository in an object store, of which `repository` then holds copies.
        out: Folder for reports, window results and the monitor's state.
        window_slices: Smallest number of slices in a window.
        window_specimens: Smallest number of specimens in a window.
        max_slices_per_specimen: Largest number of slices of one specimen in a window; further slices are only counted.
        false_alarm_rate: Share of clean windows that may be reported as drift, over all features together.
        resamples: Number of pseudo-windows drawn from the reference to calibrate the thresholds.
        max_reference_slices: Largest number of reference slices to compare with, spread evenly over the specimens.
        sustained_windows: Number of consecutive drifted windows that count as sustained drift.
        kept_windows: Number of window results kept on disk per model.
        kept_reports: Number of HTML reports (4 MB each) kept on disk per model.
        kept_snapshots: Number of windows (200 kB each) kept in Evidently's workspace per model.
        poll_seconds: Pause between two reads of the event files, in seconds.
        seed: Seed of the resampling.
        host: Address of the page and `/metrics`.
        port: Port of the page and `/metrics`; 0 selects a free port.
        links: Additional links on the page: URL by name.
    """

    events: Path
    repository: Path
    repository_url: str = ""
    out: Path
    window_slices: int = Field(default=200, ge=2, le=5000)
    window_specimens: int = Field(default=20, ge=2, le=1000)
    max_slices_per_specimen: int = Field(default=500, ge=1)
    false_alarm_rate: float = Field(default=0.01, gt=0, lt=0.5)
    resamples: int = Field(default=2000, ge=100, le=20_000)
    max_reference_slices: int = Field(default=2000, ge=100)
    sustained_windows: int = Field(default=2, ge=1, le=10)
    kept_windows: int = Field(default=1000, ge=1)
    kept_reports: int = Field(default=20, ge=1)
    kept_snapshots: int = Field(default=200, ge=1)
    poll_seconds: float = Field(default=2.0, gt=0)
    seed: int = 0
    host: str = "127.0.0.1"
    port: int = Field(default=9108, ge=0, le=65535)
    links: dict[str, str] = Field(default_factory=dict)
