"""Evidently's workspace: every window once, and not more of them than are kept."""

import numpy as np
import pandas as pd
import pytest
from evidently.ui.workspace import Project, Workspace

from components.shared.images.descriptors import COLOUR_DESCRIPTORS
from monitoring.config import MonitorConfig
from monitoring.drift.detector import Judgement, judge
from monitoring.drift.features import REASONS, by_group
from monitoring.drift.reference import Profile
from monitoring.drift.results import WORKSPACE, report_path
from monitoring.service.window_store import write_window
from monitoring.service.workspace import record_window
from tests.monitoring.drift_traffic import FEATURES, events_of, window_of


@pytest.fixture
def judgement(
    profile: Profile,
    config: MonitorConfig,
    clean: pd.DataFrame,
) -> Judgement:
    return judge(window_of(events_of(clean.head(96))), profile, config)


def numbered(judgement: Judgement, number: int) -> Judgement:
    return Judgement(judgement.result.model_copy(update={"number": number}), judgement.snapshot)


def test_a_window_is_recorded_once_with_its_scores_and_the_oldest_make_room(
    judgement: Judgement, config: MonitorConfig
) -> None:
    few = config.model_copy(update={"kept_snapshots": 2})
    for number in (1, 2, 2, 3):
        record_window(numbered(judgement, number), few)
    workspace = Workspace(str(config.out / WORKSPACE))
    (project,) = workspace.list_projects()
    assert project.name == "forams"
    runs = workspace.list_runs(project.id)
    assert len(runs) == 2
    recorded = workspace.get_run(project.id, runs[0])
    assert recorded is not None
    assert recorded.timestamp.timestamp() == judgement.result.end
    assert lines_by_panel(workspace, project) == by_group(FEATURES)


def test_each_model_keeps_its_own_reports(judgement: Judgement, config: MonitorConfig) -> None:
    few = config.model_copy(update={"kept_reports": 1})
    of_other = judgement.result.model_copy(update={"model": f"{judgement.result.model}-v2"})
    for each in (Judgement(of_other, judgement.snapshot), judgement, numbered(judgement, 2)):
        write_window(each, few)
    left = {report_path(config.out, each.name) for each in (of_other, numbered(judgement, 2).result)}
    assert set(config.out.glob("report-*")) == left


def lines_by_panel(workspace: Workspace, project: Project) -> dict[str, list[str | None]]:
    panels = workspace.get_dashboard(project.id).panels
    groups = {f"Drift score: {group.lower()}": group for group in REASONS}
    return {groups[str(panel.title)]: [line.legend for line in panel.values] for panel in panels}


def in_colour(slices: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(len(slices))
    return slices.assign(**{name: rng.normal(size=len(slices)) for name in COLOUR_DESCRIPTORS})


def test_slices_in_colour_have_a_panel_of_their_colours(
    profile: Profile, config: MonitorConfig, clean: pd.DataFrame
) -> None:
    reference = Profile(profile.card, in_colour(profile.slices))
    judgement = judge(window_of(events_of(in_colour(clean.head(96)))), reference, config)
    record_window(judgement, config)
    assert {*COLOUR_DESCRIPTORS, *FEATURES} == {each.feature for each in judgement.result.features}
    workspace = Workspace(str(config.out / WORKSPACE))
    assert lines_by_panel(workspace, workspace.list_projects()[0])["Colour"] == list(COLOUR_DESCRIPTORS)
