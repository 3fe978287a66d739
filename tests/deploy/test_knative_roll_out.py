"""A second model in Knative mode: the share of a revision is what changes."""

from pathlib import Path
from typing import Any

import pytest

from components.deploy.kserve.inference_service import served_model
from components.deploy.kserve.report import RolledBackError
from components.shared.errors import DeployError
from tests.deploy.fake_knative import FakeKnative

KEY = ("lab", "forams")
OLD, NEW = "s3://runs/a", "s3://runs/b"
pytestmark = pytest.mark.parametrize("cluster", [FakeKnative], indirect=True)


def shares(cluster: Any) -> list[Any]:
    written = [body for method, path, body in cluster.requests if method == "PATCH" and "inferenceservices" in path]
    return [body["spec"]["predictor"]["canaryTrafficPercent"] for body in written]


def test_a_canary_gets_no_users_then_a_share_then_all(first: Path, cluster: Any, deploy: Any) -> None:
    assert deploy(first, NEW, percent=25).version == 2
    assert shares(cluster) == [0, 25, None]
    assert cluster.rolled_out[KEY]["uri"] == NEW
    assert len(cluster.revisions[KEY]) == 2
    assert set(cluster.users) == {OLD, NEW}


def test_each_revision_is_asked_at_its_own_address(first: Path, cluster: Any, deploy: Any) -> None:
    deploy(first, NEW)
    names = [name for name, _ in cluster.asked_directly]
    assert [names.count(f"forams-predictor-0000{number}") for number in (1, 2)] == [20, 21]


def test_a_worse_canary_loses_its_users(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[NEW] = 0.5
    with pytest.raises(RolledBackError, match=r"errors: .*Version 1 is still served"):
        deploy(first, NEW, pairs=100)
    assert shares(cluster) == [0, 10, 0]
    assert cluster.rolled_out[KEY]["uri"] == OLD
    assert None not in cluster.users


def test_a_canary_that_never_gets_ready_has_no_users(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add(NEW)
    with pytest.raises(RolledBackError, match="not ready after"):
        deploy(first, NEW, timeout=0.05)
    assert shares(cluster) == [0, 0]
    assert set(cluster.users) == {OLD}


def test_after_a_rollback_the_next_model_is_compared_with_the_served_one(
    first: Path, cluster: Any, deploy: Any
) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError):
        deploy(first, NEW)
    cluster.asked_directly.clear()
    assert deploy(first, "s3://runs/c").version == 3
    assert {name for name, _ in cluster.asked_directly} == {"forams-predictor-00001", "forams-predictor-00003"}
    assert cluster.rolled_out[KEY]["uri"] == "s3://runs/c"


def test_killed_at_any_write_and_run_again_one_revision_is_rolled_out(first: Path, cluster: Any, deploy: Any) -> None:
    for write in (1, 2, 3, 4):
        uri, writes = f"s3://runs/{write}", []

        def cut(method: str, path: str, write: int = write, writes: list[str] = writes) -> str:
            writes.extend([path] if method != "GET" and not path.endswith(":predict") else [])
            return "before" if len(writes) > write else ""

        cluster.lose_connection = cut
        try:
            deploy(first, uri)
        except DeployError:
            assert len(writes) > write
        cluster.lose_connection = lambda _method, _path: ""
        deploy(first, uri)
        assert cluster.rolled_out[KEY]["uri"] == uri == served_model(cluster.services[KEY]).uri
        assert len(cluster.revisions[KEY]) == 1 + write
    assert None not in cluster.users
