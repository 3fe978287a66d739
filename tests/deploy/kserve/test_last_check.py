"""Last check of a promotion while old pods still answer: real servers, TCP proxy and kept connections."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.draining import draining
from tests.deploy.revisions import NEW, OLD, check_one_stable_revision, rollback_to

OLD_ID, NEW_ID = "1" * 64, "2" * 64
RIGHT, WRONG = [0.9, 0.1], [0.1, 0.9]


@pytest.mark.parametrize("keeps_connections", [True, False])
@pytest.mark.parametrize("lifetime_s", [0.0, 0.5])
@pytest.mark.parametrize("ids", [(OLD_ID, NEW_ID), ("", NEW_ID), ("", "")])
def test_a_model_that_differs_in_every_answer_is_served(
    make_artifact: Callable[..., Path],
    cluster: Any,
    deploy: Any,
    ids: tuple[str, str],
    lifetime_s: float,
    keeps_connections: bool,
) -> None:
    cluster.grace_period_s = 1
    with draining(cluster, {OLD: (ids[0], WRONG), NEW: (ids[1], RIGHT)}, lifetime_s, keeps_connections):
        deploy(make_artifact("old", model_id=ids[0], scores=WRONG), OLD)
        assert deploy(make_artifact("new", model_id=ids[1]), NEW).version == 2
    check_one_stable_revision(cluster, NEW)


@pytest.mark.parametrize("keeps_connections", [True, False])
@pytest.mark.parametrize("lifetime_s", [0.0, 0.5])
def test_a_promoted_model_with_other_scores_is_rolled_back(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any, lifetime_s: float, keeps_connections: bool
) -> None:
    cluster.grace_period_s = 1
    with draining(cluster, {OLD: (OLD_ID, RIGHT), NEW: (NEW_ID, WRONG)}, lifetime_s, keeps_connections):
        deploy(make_artifact("old", model_id=OLD_ID), OLD)
        with rollback_to(1, r"1 of 1 known slices have other scores than in the evaluation"):
            deploy(make_artifact("new", model_id=NEW_ID), NEW)
    check_one_stable_revision(cluster, OLD)


def test_the_reason_of_a_rollback_names_the_model_that_answered(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    with draining(cluster, {OLD: (OLD_ID, WRONG), NEW: (NEW_ID, RIGHT)}, 5.0, keeps_connections=True):
        deploy(make_artifact("old", model_id=OLD_ID, scores=WRONG), OLD)
        answered = r"is answered by version 1 \(model 111111111111\) instead of version 2 \(model 222222222222\)"
        with rollback_to(1, answered):
            deploy(make_artifact("new", model_id=NEW_ID), NEW)
    check_one_stable_revision(cluster, OLD)
