"""The stored windows: the result as JSON, Evidently's report as one offline HTML file, and Evidently's workspace.

`evidently ui --workspace <out>/workspace` shows the windows of each model over time.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import line_plot_panel
from evidently.ui.workspace import Project, Workspace

from components.shared.files import write_atomically
from monitoring.config import MonitorConfig
from monitoring.drift.detector import WindowVerdict
from monitoring.drift.features import FEATURES, by_group
from monitoring.drift.results import WORKSPACE, WindowResult, report_path, result_path

LATEST = "latest.html"


def write_window(verdict: WindowVerdict, config: MonitorConfig) -> Path:
    """Write the report, its copy `latest.html` and the result of a window, and delete the oldest files.

    Returns:
        The path of the report.

    Raises:
        OSError: The disk is full or not writable.
    """
    out, result = config.out, verdict.result
    html = verdict.snapshot.get_html_str(as_iframe=False).encode()
    report = report_path(out, result.name)
    write_atomically(report, html)
    write_atomically(out / LATEST, html)
    result.write(result_path(out, result.name))
    _delete_oldest(_files_of(result.model, out, report_path), config.kept_reports)
    _delete_oldest(_files_of(result.model, out, result_path), config.kept_windows)
    return report


def record_window(verdict: WindowVerdict, config: MonitorConfig) -> None:
    """Add a window to the workspace project of its model, and delete the oldest windows.

    Recording the same window again replaces it.

    Raises:
        OSError: The disk is full or not writable.
        ValueError: The workspace is damaged: Evidently overwrites its files in place.
    """
    workspace = Workspace.create(str(config.out / WORKSPACE))
    result = verdict.result
    project = _project(workspace, result)
    snapshot = uuid.uuid5(uuid.NAMESPACE_OID, result.name)
    workspace.state.write_snapshot(project.id, snapshot, verdict.snapshot.to_snapshot_model())
    snapshots = config.out / WORKSPACE / str(project.id) / "snapshots"
    _delete_oldest(snapshots.glob("*.json"), config.kept_snapshots)


def _project(workspace: Workspace, result: WindowResult) -> Project:
    projects = workspace.search_project(result.model)
    if projects:
        return projects[0]
    project = workspace.create_project(result.model, description="Drift of the slices sent to the model")
    for title in by_group(each.feature for each in result.features):
        lines = [
            PanelMetric(legend=feature, metric="ValueDrift", metric_labels={"column": feature})
            for feature in by_group(FEATURES)[title]
        ]
        project.dashboard.add_panel(line_plot_panel(f"Drift score: {title.lower()}", lines), tab=title)
    return project


def _files_of(model: str, out: Path, path_of: Callable[[Path, str], Path]) -> Iterator[Path]:
    """Yield the files of one model. A glob pattern for `forams` would also match `forams-v2`."""
    pattern = path_of(out, "*")
    name = re.escape(pattern.name).replace(r"\*", re.escape(model) + r"-v\d+-\d+")
    return (path for path in out.glob(pattern.name) if re.fullmatch(name, path.name))


def _delete_oldest(files: Iterable[Path], count: int) -> None:
    """Delete all but the `count` latest files."""
    by_age = sorted(files, key=lambda path: path.stat().st_mtime_ns)
    for path in by_age[:-count]:
        path.unlink(missing_ok=True)
