"""Last check of a promotion while old pods still answer: real servers, TCP proxy and kept connections."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.draining import draining
from tests.deploy.revisions import KEY, NEW, OLD, check_one_stable_revision, rollback_to

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
        assert cluster.deployments["lab", "forams-predictor"]["serving"] == OLD
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


def versions(cluster: Any) -> dict[str, int]:
    """Return the versions that the transformer knows, by the ids of their models."""
    annotations = cluster.services[KEY]["spec"]["transformer"]["annotations"]
    return dict(json.loads(annotations["taxonflow.dev/model-versions"]))


@pytest.fixture
def models(cluster: Any, make_artifact: Callable[..., Path]) -> tuple[Path, Path]:
    """Artifacts of two models whose answers name them."""
    cluster.model_ids = {OLD: OLD_ID, NEW: NEW_ID}
    return make_artifact("old", model_id=OLD_ID), make_artifact("new", model_id=NEW_ID)


@pytest.mark.parametrize("percent", [0, 25])
def test_the_transformer_knows_each_model_before_it_answers(
    models: tuple[Path, Path], cluster: Any, deploy: Any, percent: int
) -> None:
    deploy(models[0], OLD)
    assert versions(cluster) == {OLD_ID: 1}
    known: list[tuple[str | None, dict[str, int]]] = []
    cluster.on_complete = lambda _deployment, uri: known.append((uri, versions(cluster)))
    deploy(models[1], NEW, percent=percent)
    assert [seen for uri, seen in known if uri == NEW][-1] == {OLD_ID: 1, NEW_ID: 2} == versions(cluster)
    annotations = cluster.services[KEY]["spec"]["predictor"]["annotations"]
    assert annotations["taxonflow.dev/model-id"] == NEW_ID


def test_the_transformer_still_knows_a_model_that_was_rolled_back(
    models: tuple[Path, Path], cluster: Any, deploy: Any
) -> None:
    deploy(models[0], OLD)
    cluster.failing[NEW] = 0.5
    with rollback_to(1, "errors: the canary did worse"):
        deploy(models[1], NEW, pairs=100)
    assert versions(cluster) == {OLD_ID: 1, NEW_ID: 2}


def test_the_transformer_names_the_served_version_of_two_alike(
    models: tuple[Path, Path], cluster: Any, deploy: Any
) -> None:
    cluster.model_ids[NEW] = OLD_ID
    deploy(models[0], OLD)
    deploy(models[0], NEW)
    assert versions(cluster) == {OLD_ID: 2}


def test_a_promotion_waits_for_the_transformers_new_options(
    models: tuple[Path, Path], cluster: Any, deploy: Any
) -> None:
    deploy(models[0], OLD)
    deploy(models[1], NEW)
    transformer = cluster.deployments["lab", "forams-transformer"]
    assert "--canary_host" not in transformer["running"]
    assert transformer["status"]["updatedReplicas"] == 1
