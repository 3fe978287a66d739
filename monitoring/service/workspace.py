"""Evidently's workspace: every window of a model over time, for `evidently ui --workspace <out>/workspace`."""

import uuid

from evidently.sdk.models import PanelMetric
from evidently.sdk.panels import line_plot_panel
from evidently.ui.workspace import Project, Workspace

from monitoring.config import MonitorConfig
from monitoring.drift.detector import Judgement
from monitoring.drift.features import FEATURES, by_group
from monitoring.drift.results import WORKSPACE, WindowResult
from monitoring.service.window_store import keep_newest


def record_window(judgement: Judgement, config: MonitorConfig) -> None:
    """Adds a window to its model's project; the same window twice replaces itself, the oldest ones make room.

    Raises:
        OSError: the disk is full or not writable.
        ValueError: what lies there is damaged: Evidently writes over its files.
    """
    workspace = Workspace.create(str(config.out / WORKSPACE))
    result = judgement.result
    project = _project(workspace, result)
    snapshot = uuid.uuid5(uuid.NAMESPACE_OID, result.name)
    workspace.state.write_snapshot(project.id, snapshot, judgement.snapshot.to_snapshot_model())
    snapshots = config.out / WORKSPACE / str(project.id) / "snapshots"
    keep_newest(snapshots.glob("*.json"), config.kept_snapshots)


def _project(workspace: Workspace, result: WindowResult) -> Project:
    found = workspace.search_project(result.model)
    if found:
        return found[0]
    project = workspace.create_project(result.model, description="Drift of the slices that the model answers")
    for title in by_group(each.feature for each in result.features):
        lines = [
            PanelMetric(legend=feature, metric="ValueDrift", metric_labels={"column": feature})
            for feature in by_group(FEATURES)[title]
        ]
        project.dashboard.add_panel(line_plot_panel(f"Drift score: {title.lower()}", lines), tab=title)
    return project
