"""Evidently's workspace: every window once, and not more of them than are kept."""

import pandas as pd
import pytest
from evidently.ui.workspace import Workspace

from monitoring.config import MonitorConfig
from monitoring.drift import Judgement, judge
from monitoring.features import by_group
from monitoring.profiles import Profile
from monitoring.results import WORKSPACE
from monitoring.workspace import record_window
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
    panels = workspace.get_dashboard(project.id).panels
    assert [panel.title.partition(": ")[2] for panel in panels] == [group.lower() for group in by_group(FEATURES)]
    assert {value.legend for panel in panels for value in panel.values} == set(FEATURES)
