"""A second model in Standard mode: tried as a canary, then promoted or rolled back, whatever is lost on the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.deploy.canary.settings import CanarySettings
from components.deploy.kserve import client as cluster_module
from components.deploy.kserve import standard
from components.deploy.kserve.inference_service import ServedModel
from components.deploy.kserve.report import RolledBackError
from components.deploy.kserve.rollout import OvertakenError
from components.shared.errors import DeployError
from tests.deploy.revisions import KEY, NEW, OLD, PATH, check_one_stable_revision, patches, promotions, stable

BEFORE_THE_FIRST_POLL = 10**6


def test_a_canary_is_started_opened_and_promoted(first: Path, cluster: Any, deploy: Any) -> None:
    done = deploy(first, NEW, percent=25)
    assert done.version == 2
    dark, opened, promoted = patches(cluster)
    assert [dark["canary"][0]["trafficPercent"], opened["canary"][0]["trafficPercent"]] == [0, 25]
    assert dark["canary"][0]["predictor"]["model"]["storageUri"] == NEW
    assert "predictor" not in dark
    assert "predictor" not in opened
    assert promoted["canary"] is None
    check_one_stable_revision(cluster, NEW)
    assert cluster.users.count(NEW) > 0
    assert cluster.users.count(OLD) > 0


def test_the_transformer_divides_the_users_and_keeps_its_other_options(first: Path, cluster: Any, deploy: Any) -> None:
    before = cluster.services[KEY]["spec"]["transformer"]
    deploy(first, NEW, percent=25)
    opened = patches(cluster)[1]["transformer"]["containers"][0]
    ours = ["--canary_host", "forams-canary-predictor.lab", "--canary_percent", "25", "--canary_version", "2"]
    assert opened == {**before["containers"][0], "args": [*before["containers"][0]["args"], *ours]}
    after = cluster.services[KEY]["spec"]["transformer"]
    assert after["containers"] == before["containers"]
    versions = [told["annotations"]["taxonflow.dev/model-version"] for told in (before, after)]
    assert versions == ["1", "2"]


@pytest.mark.parametrize(
    ("template", "host"),
    [
        ("http://{service}.{namespace}:8080", "forams-canary-predictor.lab:8080"),
        ("http://{service}.{namespace}", "forams-canary-predictor.lab"),
        ("https://gateway.example.org/{namespace}/{service}", "forams-canary-predictor.lab"),
    ],
)
def test_the_transformer_reaches_a_canary_on_the_port_of_a_headless_service(
    first: Path, cluster: Any, template: str, host: str
) -> None:
    service = cluster.services[KEY]
    canary = ServedModel(2, NEW)
    dark = {**service, "spec": {**service["spec"], "canary": standard.start(service, canary)["spec"]["canary"]}}
    opened = standard.open(dark, CanarySettings(percent=25, predictor=template))
    options = opened["spec"]["transformer"]["containers"][0]["args"]
    assert options[options.index("--canary_host") + 1] == host
    assert first


def test_no_user_reaches_a_canary_that_has_not_answered_the_known_slices(
    first: Path, cluster: Any, deploy: Any
) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError, match=r"slice x/0 has scores 0\.8 off.*Version 1 is still served"):
        deploy(first, NEW)
    check_one_stable_revision(cluster, OLD)
    assert set(cluster.users) == {OLD}


def test_a_canary_without_a_share_is_judged_by_known_slices_alone(first: Path, cluster: Any, deploy: Any) -> None:
    deploy(first, NEW, percent=0)
    assert len(patches(cluster)) == 2
    check_one_stable_revision(cluster, NEW)
    assert [name for name, _ in cluster.asked_directly].count("forams-predictor") == 20


def test_both_predictors_are_asked_directly_and_without_a_specimen(first: Path, cluster: Any, deploy: Any) -> None:
    deploy(first, NEW)
    names = [name for name, _ in cluster.asked_directly]
    assert (names.count("forams-predictor"), names.count("forams-canary-predictor")) == (20, 21)
    assert all(instance.keys() == {"image_bytes"} for _, instance in cluster.asked_directly)


def test_a_canary_that_never_gets_ready_is_rolled_back(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add(NEW)
    with pytest.raises(RolledBackError, match=r"not ready after 0\.05 s") as raised:
        deploy(first, NEW, timeout=0.05)
    assert (raised.value.still.version, promotions(cluster)) == (1, 0)
    check_one_stable_revision(cluster, OLD)
    assert set(cluster.users) == {OLD}


def test_a_slower_canary_is_rolled_back(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.slow[NEW] = 0.15  # many times what a busy machine adds to both
    with pytest.raises(RolledBackError, match="latency: the canary did worse in") as raised:
        deploy(first, NEW, slower=3)
    assert "rolled back: latency" in raised.value.still.story.markdown("forams")
    check_one_stable_revision(cluster, OLD)


def test_a_canary_that_fails_more_often_is_rolled_back(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[NEW] = 0.5
    with pytest.raises(RolledBackError, match="errors: the canary did worse in"):
        deploy(first, NEW, pairs=100, slower=1000)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_that_fails_as_often_as_a_broken_stable_model_is_not_promoted(
    first: Path, cluster: Any, deploy: Any
) -> None:
    cluster.failing[OLD] = cluster.failing[NEW] = 0.7
    with pytest.raises(RolledBackError, match="the canary answered only 6 of 20 known slices"):
        deploy(first, NEW)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_beside_a_broken_stable_model_is_promoted(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.failing[OLD] = 1.0
    assert deploy(first, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_a_canary_that_agrees_less_with_the_known_answers_is_rolled_back(
    make_served: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    served = make_served("many", examples=100)
    deploy(served, OLD)
    cluster.disagreeing[NEW] = 0.3
    with pytest.raises(RolledBackError, match="agreement: the canary did worse in"):
        deploy(served, NEW, pairs=100, slower=1000)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_that_is_not_judged_in_time_is_rolled_back(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.slow[OLD] = cluster.slow[NEW] = 0.02
    with pytest.raises(RolledBackError, match=r"pairs were answered within 0\.1 s"):
        deploy(first, NEW, seconds=0.1)
    check_one_stable_revision(cluster, OLD)


def test_a_canary_is_taken_away_where_the_slices_to_judge_it_by_are_gone(
    first: Path, cluster: Any, deploy: Any, tmp_path: Path
) -> None:
    with pytest.raises(RolledBackError, match=r"dataset\.json does not exist.*Version 1 is still served"):
        deploy(first, NEW, data=tmp_path / "gone")
    check_one_stable_revision(cluster, OLD)


def test_ready_of_the_old_model_is_not_taken_for_the_new_one(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.polls_until_ready = 20
    deploy(first, NEW)
    assert cluster.deployments["lab", "forams-predictor"]["serving"] == NEW


def test_a_promoted_model_that_never_gets_ready_is_taken_back(first: Path, cluster: Any, deploy: Any) -> None:
    def run_out_of_gpus(method: str, path: str) -> None:
        if method == "PATCH" and path == PATH and stable(cluster).uri == OLD and len(patches(cluster)) == 3:
            cluster.unloadable.add(NEW)

    cluster.answer_instead = run_out_of_gpus
    with pytest.raises(RolledBackError, match=r"was not ready after.*Version 1 is still served"):
        deploy(first, NEW, timeout=0.3)
    check_one_stable_revision(cluster, OLD)


def test_a_model_that_was_rolled_back_may_be_tried_again(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError):
        deploy(first, NEW)
    cluster.wrong_answers.clear()
    assert deploy(first, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_another_runs_canary_is_replaced_and_that_run_leaves_ours_alone(first: Path, cluster: Any, deploy: Any) -> None:
    def overtake(method: str, path: str) -> None:
        if "forams-canary-predictor" in path and method == "GET":
            entry = cluster.services[KEY]["spec"]["canary"][0]
            entry["predictor"]["model"]["storageUri"] = "s3://runs/c"

    cluster.answer_instead = overtake
    with pytest.raises(OvertakenError, match="left alone"):
        deploy(first, NEW)
    assert cluster.canary(KEY)["predictor"]["model"]["storageUri"] == "s3://runs/c"
    cluster.answer_instead = lambda _method, _path: None
    assert deploy(first, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_a_conflict_is_retried_on_what_the_other_wrote(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.conflicts = 3
    assert deploy(first, NEW).version == 2
    check_one_stable_revision(cluster, NEW)


def test_conflicts_without_end_are_one_sentence(first: Path, cluster: Any, deploy: Any) -> None:
    cluster.conflicts = 1000
    with pytest.raises(DeployError, match="changed by others 5 times"):
        deploy(first, NEW)
    assert stable(cluster) == ServedModel(1, OLD)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_every_write_whose_connection_is_lost_is_done_once(first: Path, cluster: Any, deploy: Any, moment: str) -> None:
    lost = []

    def lose_every_other_write(method: str, _path: str) -> str:
        if method == "GET" or _path.endswith(":predict"):
            return ""
        lost.append(len(lost) % 2 == 0)
        return moment if lost[-1] else ""

    cluster.lose_connection = lose_every_other_write
    assert deploy(first, NEW).version == 2
    assert lost.count(True) >= 2
    assert (promotions(cluster) if moment == "after" else 1) == 1
    check_one_stable_revision(cluster, NEW)


def test_an_api_that_does_not_answer_in_time_is_asked_again(
    first: Path, cluster: Any, deploy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "_REQUEST_TIMEOUT_S", (0.1, 0.1))
    late = iter([True, False, True, False])
    cluster.answer_instead = lambda method, path: (
        (500, {"seconds": 0.3}) if method == "PATCH" and path == PATH and next(late, False) else None
    )
    assert deploy(first, NEW).version == 2
    check_one_stable_revision(cluster, NEW)
