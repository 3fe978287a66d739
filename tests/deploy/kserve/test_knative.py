"""Rollout of a second model in Knative mode, where the share of a revision changes."""

from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import requested_model
from components.deploy.kserve.report import RolledBackError
from components.shared.errors import DeployError
from tests.deploy.fake_knative import FakeKnative
from tests.deploy.revisions import KEY, NEW, OLD, rollback_to

pytestmark = pytest.mark.parametrize("cluster", [FakeKnative], indirect=True)


def shares(cluster: Any) -> list[Any]:
    bodies = [body for method, path, body in cluster.requests if method == "PATCH" and "inferenceservices" in path]
    return [body["spec"]["predictor"]["canaryTrafficPercent"] for body in bodies]


def test_a_canary_gets_no_users_then_a_share_then_all_users(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    assert deploy(served_artifact, NEW, percent=25).version == 2
    assert shares(cluster) == [0, 25, None]
    assert cluster.rolled_out[KEY]["uri"] == NEW
    assert len(cluster.revisions[KEY]) == 2
    assert set(cluster.users) == {OLD, NEW}


def test_the_probe_uses_the_url_of_each_revision(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    deploy(served_artifact, NEW)
    names = [name for name, _ in cluster.asked_directly]
    assert [names.count(f"forams-predictor-0000{number}") for number in (1, 2)] == [20, 21]


def test_a_worse_canary_loses_its_users(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[NEW] = 0.5
    with rollback_to(1, "errors: the canary did worse in"):
        deploy(served_artifact, NEW, pairs=100)
    assert shares(cluster) == [0, 10, 0]
    assert cluster.rolled_out[KEY]["uri"] == OLD
    assert None not in cluster.users


def test_a_canary_that_never_becomes_ready_has_no_users(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add(NEW)
    with rollback_to(1, "not ready after"):
        deploy(served_artifact, NEW, timeout=0.05)
    assert shares(cluster) == [0, 0]
    assert set(cluster.users) == {OLD}


def test_a_rolled_back_revision_is_not_the_next_stable_model(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError):
        deploy(served_artifact, NEW)
    cluster.asked_directly.clear()
    assert deploy(served_artifact, "pvc://runs/c").version == 3
    assert {name for name, _ in cluster.asked_directly} == {"forams-predictor-00001", "forams-predictor-00003"}
    assert cluster.rolled_out[KEY]["uri"] == "pvc://runs/c"


def test_a_rollout_killed_at_any_write_leaves_one_revision(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    for write in (1, 2, 3, 4):
        uri, writes = f"pvc://runs/{write}", []

        def cut(method: str, path: str, write: int = write, writes: list[str] = writes) -> str:
            writes.extend([path] if method != "GET" and not path.endswith(":predict") else [])
            return "before" if len(writes) > write else ""

        cluster.lose_connection = cut
        try:
            deploy(served_artifact, uri)
        except DeployError:
            assert len(writes) > write
        cluster.lose_connection = lambda _method, _path: ""
        deploy(served_artifact, uri)
        assert cluster.rolled_out[KEY]["uri"] == uri == requested_model(cluster.services[KEY]).uri
        assert len(cluster.revisions[KEY]) == 1 + write
    assert None not in cluster.users
