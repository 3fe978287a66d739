"""Rollout of a second model in Standard mode: canary, promotion, rollback, conflicts and lost connections."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve import client
from components.deploy.kserve.canary_rollout import SupersededError
from components.deploy.kserve.inference_service import ModelVersion
from components.deploy.kserve.report import RolledBackError
from components.deploy.kserve.standard import StandardMode
from components.shared.errors import DeployError
from tests.deploy.revisions import (
    KEY,
    NEW,
    OLD,
    PATH,
    check_one_stable_revision,
    patches,
    promotions,
    rollback_to,
    stable,
)


def test_a_canary_is_started_gets_users_and_is_promoted(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    assert deploy(served_artifact, NEW, percent=25).version == 2
    start, traffic, promotion = patches(cluster)
    assert [start["canary"][0]["trafficPercent"], traffic["canary"][0]["trafficPercent"]] == [0, 25]
    assert start["canary"][0]["predictor"]["model"]["storageUri"] == NEW
    assert "predictor" not in start
    assert "predictor" not in traffic
    assert promotion["canary"] is None
    check_one_stable_revision(cluster, NEW)
    assert cluster.users.count(NEW) > 0
    assert cluster.users.count(OLD) > 0


def test_the_transformer_gets_canary_options_and_keeps_the_others(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    before = cluster.services[KEY]["spec"]["transformer"]
    deploy(served_artifact, NEW, percent=25)
    container = patches(cluster)[1]["transformer"]["containers"][0]
    options = ["--canary_host", "forams-canary-predictor.lab", "--canary_percent", "25", "--canary_version", "2"]
    assert container == {**before["containers"][0], "args": [*before["containers"][0]["args"], *options]}
    after = cluster.services[KEY]["spec"]["transformer"]
    assert after["containers"] == before["containers"]
    versions = [transformer["annotations"]["taxonflow.dev/model-version"] for transformer in (before, after)]
    assert versions == ["1", "2"]


@pytest.mark.parametrize(
    ("template", "host"),
    [
        ("http://{service}.{namespace}:8080", "forams-canary-predictor.lab:8080"),
        ("http://{service}.{namespace}", "forams-canary-predictor.lab"),
        ("https://gateway.example.org/{namespace}/{service}", "forams-canary-predictor.lab"),
    ],
)
def test_the_transformer_uses_the_port_of_a_headless_service(
    served_artifact: Path, cluster: Any, template: str, host: str
) -> None:
    service = cluster.services[KEY]
    canary = ModelVersion(2, NEW)
    mode = StandardMode()
    settings = CanarySettings(percent=25, predictor=template)
    start = mode.start_canary(service, canary, settings)
    patch = mode.route_traffic({**service, "spec": {**service["spec"], "canary": start["spec"]["canary"]}}, settings)
    options = patch["spec"]["transformer"]["containers"][0]["args"]
    assert options[options.index("--canary_host") + 1] == host
    assert served_artifact


def test_no_user_reaches_a_canary_that_fails_the_known_answers(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.wrong_answers.add(NEW)
    with rollback_to(1, r"slice x/0 has scores that differ by up to 0\.8"):
        deploy(served_artifact, NEW)
    check_one_stable_revision(cluster, OLD)
    assert set(cluster.users) == {OLD}


def test_a_canary_without_users_is_compared_by_the_probe_alone(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    deploy(served_artifact, NEW, percent=0)
    assert len(patches(cluster)) == 2
    check_one_stable_revision(cluster, NEW)
    assert [name for name, _ in cluster.asked_directly].count("forams-predictor") == 20


def test_the_probe_bypasses_the_transformer_and_sends_no_specimen(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    deploy(served_artifact, NEW)
    names = [name for name, _ in cluster.asked_directly]
    assert (names.count("forams-predictor"), names.count("forams-canary-predictor")) == (20, 21)
    assert all(instance.keys() == {"image_bytes"} for _, instance in cluster.asked_directly)


def test_a_canary_that_never_becomes_ready_is_rolled_back(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add(NEW)
    with rollback_to(1, r"not ready after 0\.05 s"):
        deploy(served_artifact, NEW, timeout=0.05)
    assert promotions(cluster) == 0
    check_one_stable_revision(cluster, OLD)
    assert set(cluster.users) == {OLD}


def test_a_slower_canary_is_rolled_back(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.slow[NEW] = 0.15  # many times what a busy machine adds to both
    with pytest.raises(RolledBackError, match="latency: the canary did worse in") as error:
        deploy(served_artifact, NEW, slower=3)
    assert "rolled back: latency" in error.value.result.markdown("forams")
    check_one_stable_revision(cluster, OLD)


def test_a_canary_that_fails_more_often_is_rolled_back(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[NEW] = 0.5
    with pytest.raises(RolledBackError, match="errors: the canary did worse in"):
        deploy(served_artifact, NEW, pairs=100, slower=1000)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_as_broken_as_the_stable_model_is_not_promoted(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.failing[OLD] = cluster.failing[NEW] = 0.7
    with pytest.raises(RolledBackError, match="the canary answered only 6 of 20 known slices"):
        deploy(served_artifact, NEW)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_beside_a_broken_stable_model_is_promoted(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[OLD] = 1.0
    assert deploy(served_artifact, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_a_canary_with_less_agreement_is_rolled_back(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    artifact = make_artifact("many", examples=100)
    deploy(artifact, OLD)
    cluster.disagreeing[NEW] = 0.3
    with pytest.raises(RolledBackError, match="agreement: the canary did worse in"):
        deploy(artifact, NEW, pairs=100, slower=1000)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_that_exceeds_the_time_limit_is_rolled_back(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.slow[OLD] = cluster.slow[NEW] = 0.02
    with pytest.raises(RolledBackError, match=r"pairs were answered within 0\.1 s"):
        deploy(served_artifact, NEW, seconds=0.1)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_is_rolled_back_if_the_data_set_is_missing(
    served_artifact: Path, cluster: Any, deploy: Any, tmp_path: Path
) -> None:
    with rollback_to(1, r"dataset\.json"):
        deploy(served_artifact, NEW, data=tmp_path / "gone")
    check_one_stable_revision(cluster, OLD)


def test_the_old_models_ready_condition_does_not_count_for_the_new(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.polls_until_ready = 8
    deploy(served_artifact, NEW)
    assert cluster.deployments["lab", "forams-predictor"]["serving"] == NEW


def test_the_previous_model_replaces_one_that_never_becomes_ready(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    def run_out_of_gpus(method: str, path: str) -> None:
        if method == "PATCH" and path == PATH and stable(cluster).uri == OLD and len(patches(cluster)) == 3:
            cluster.unloadable.add(NEW)

    cluster.answer_instead = run_out_of_gpus
    with rollback_to(1, "was not ready after"):
        deploy(served_artifact, NEW, timeout=0.3)
    check_one_stable_revision(cluster, OLD)


def test_a_model_that_was_rolled_back_can_be_deployed_again(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError):
        deploy(served_artifact, NEW)
    cluster.wrong_answers.clear()
    assert deploy(served_artifact, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_a_new_canary_replaces_another_and_supersedes_its_rollout(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    def overtake(method: str, path: str) -> None:
        if "forams-canary-predictor" in path and method == "GET":
            entry = cluster.services[KEY]["spec"]["canary"][0]
            entry["predictor"]["model"]["storageUri"] = "pvc://runs/c"

    cluster.answer_instead = overtake
    with pytest.raises(SupersededError, match="stopped without changes"):
        deploy(served_artifact, NEW)
    assert cluster.canary(KEY)["predictor"]["model"]["storageUri"] == "pvc://runs/c"
    cluster.answer_instead = lambda _method, _path: None
    assert deploy(served_artifact, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_a_conflict_is_retried_on_the_latest_state(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.conflicts = 3
    assert deploy(served_artifact, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_permanent_conflicts_are_a_deploy_error(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.conflicts = 1000
    with pytest.raises(DeployError, match="5 consecutive attempts"):
        deploy(served_artifact, NEW)
    assert stable(cluster) == ModelVersion(1, OLD)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_write_with_a_lost_connection_is_executed_once(
    served_artifact: Path, cluster: Any, deploy: Any, moment: str
) -> None:
    losses: list[bool] = []

    def lose_every_other_write(method: str, path: str) -> str:
        if method == "GET" or path.endswith(":predict"):
            return ""
        losses.append(len(losses) % 2 == 0)
        return moment if losses[-1] else ""

    cluster.lose_connection = lose_every_other_write
    assert deploy(served_artifact, NEW).version == 2
    assert losses.count(True) >= 2
    assert (promotions(cluster) if moment == "after" else 1) == 1
    check_one_stable_revision(cluster, NEW)


def test_a_request_that_times_out_is_retried(
    served_artifact: Path, cluster: Any, deploy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REQUEST_TIMEOUT_S", (0.1, 0.1))
    late = iter([True, False, True, False])
    cluster.answer_instead = lambda method, path: (
        (500, {"seconds": 0.3}) if method == "PATCH" and path == PATH and next(late, False) else None
    )
    assert deploy(served_artifact, NEW).version == 2
    check_one_stable_revision(cluster, NEW)
