"""Evidently's workspace: every window once, and not more of them than are kept."""

from collections.abc import Callable

import pandas as pd
import pytest
from evidently.ui.workspace import Workspace

from components.shared.contracts import DriftEvent
from monitoring.config import MonitorConfig
from monitoring.drift import Judgement, judge
from monitoring.profiles import Profile
from monitoring.results import WORKSPACE
from monitoring.windows import Window
from monitoring.workspace import PANELS, record_window


@pytest.fixture
def judgement(
    profile: Profile,
    config: MonitorConfig,
    clean: pd.DataFrame,
    make_events: Callable[..., list[DriftEvent]],
    make_window: Callable[[list[DriftEvent]], Window],
) -> Judgement:
    return judge(make_window(make_events(clean.head(96))), profile, config)


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
    assert len(workspace.get_dashboard(project.id).panels) == len(PANELS)
