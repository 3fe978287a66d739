"""Stored windows: reports, results, and Evidently's workspace, each limited in number."""

import re

import numpy as np
import pandas as pd
import pytest
from evidently.ui.workspace import Project, Workspace

from components.shared.images.descriptors import COLOUR_DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.detector import WindowVerdict, evaluate_window
from monitoring.drift.features import REASONS, by_group
from monitoring.drift.reference import ReferenceProfile
from monitoring.drift.results import WORKSPACE, read_result, report_path
from monitoring.service.window_store import record_window, write_window
from tests.monitoring.drift_traffic import FEATURES, events_of, window_of


@pytest.fixture
def verdict(
    profile: ReferenceProfile,
    config: MonitorConfig,
    clean: pd.DataFrame,
) -> WindowVerdict:
    return evaluate_window(window_of(events_of(clean.head(96))), profile, config)


def renumbered(verdict: WindowVerdict, number: int) -> WindowVerdict:
    return WindowVerdict(verdict.result.model_copy(update={"number": number}), verdict.snapshot)


def test_each_window_is_recorded_once_and_the_oldest_are_deleted(verdict: WindowVerdict, config: MonitorConfig) -> None:
    few = config.model_copy(update={"kept_snapshots": 2})
    for number in (1, 2, 2, 3):
        record_window(renumbered(verdict, number), few)
    workspace = Workspace(str(config.out / WORKSPACE))
    (project,) = workspace.list_projects()
    assert project.name == "forams"
    runs = workspace.list_runs(project.id)
    assert len(runs) == 2
    run = workspace.get_run(project.id, runs[0])
    assert run is not None
    assert run.timestamp.timestamp() == verdict.result.end
    assert lines_by_panel(workspace, project) == by_group(FEATURES)


def test_reports_are_limited_for_each_model_separately(verdict: WindowVerdict, config: MonitorConfig) -> None:
    few = config.model_copy(update={"kept_reports": 1})
    other_result = verdict.result.model_copy(update={"model": f"{verdict.result.model}-v2"})
    for each in (WindowVerdict(other_result, verdict.snapshot), verdict, renumbered(verdict, 2)):
        write_window(each, few)
    paths = {report_path(config.out, each.name) for each in (other_result, renumbered(verdict, 2).result)}
    assert set(config.out.glob("report-*")) == paths


def lines_by_panel(workspace: Workspace, project: Project) -> dict[str, list[str | None]]:
    panels = workspace.get_dashboard(project.id).panels
    groups = {f"Drift score: {group.lower()}": group for group in REASONS}
    return {groups[str(panel.title)]: [line.legend for line in panel.values] for panel in panels}


def in_colour(slices: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(len(slices))
    return slices.assign(**{name: rng.normal(size=len(slices)) for name in COLOUR_DESCRIPTORS})


def test_colour_slices_have_a_panel_for_colour_features(
    profile: ReferenceProfile, config: MonitorConfig, clean: pd.DataFrame
) -> None:
    reference = ReferenceProfile(profile.card, in_colour(profile.slices))
    verdict = evaluate_window(window_of(events_of(in_colour(clean.head(96)))), reference, config)
    record_window(verdict, config)
    assert {*COLOUR_DESCRIPTORS, *FEATURES} == {each.feature for each in verdict.result.features}
    workspace = Workspace(str(config.out / WORKSPACE))
    assert lines_by_panel(workspace, workspace.list_projects()[0])["Colour"] == list(COLOUR_DESCRIPTORS)


def test_the_report_is_one_file_without_external_resources(verdict: WindowVerdict, config: MonitorConfig) -> None:
    path = write_window(verdict, config)
    page = path.read_text()
    assert re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="?https?:', page) == []
    assert all(feature in page for feature in FEATURES)
    assert (config.out / "latest.html").read_text() == page
    assert read_result(config.out, verdict.result.name) == verdict.result


def test_the_oldest_reports_are_deleted(verdict: WindowVerdict, config: MonitorConfig) -> None:
    few = config.model_copy(update={"kept_reports": 2, "kept_windows": 3})
    for number in range(1, 5):
        renumbered_result = verdict.result.model_copy(update={"number": number})
        write_window(WindowVerdict(renumbered_result, verdict.snapshot), few)
    assert sorted(path.name for path in config.out.glob("report-*")) == [
        "report-forams-v1-000003.html",
        "report-forams-v1-000004.html",
    ]
    assert len(list(config.out.glob("window-*"))) == 3
