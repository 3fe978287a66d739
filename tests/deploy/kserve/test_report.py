"""Report of a rollout: the outcome in its first sentence, the addresses of the endpoint, and records beside it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from components.deploy.canary.settings import CanarySettings, CanaryTrial, Retries
from components.deploy.kserve.report import RolledBackError, RolloutLog, RolloutResult
from components.deploy.kserve.target import roll_out
from components.deploy.records import DeployRecords
from components.deploy.verified_model import verify_model
from components.shared.errors import BadConfigError, DeployError
from tests.deploy.fake_model_registry import FakeModelRegistry
from tests.deploy.revisions import KEY, NEW, OLD, check_one_stable_revision
from tests.http_server import http_server

MODEL_ID = "2" * 64


def test_the_first_sentence_says_what_is_served_now(
    make_artifact: Callable[..., Path], cluster: Any, deploy: Any
) -> None:
    cluster.model_ids = {OLD: "1" * 64, NEW: MODEL_ID}
    first = deploy(make_artifact("old", model_id="1" * 64), OLD)
    assert first.sentence("forams") == (
        "The new model passed the gate, and version 1 (model 111111111111) of forams is served."
    )
    second = deploy(make_artifact("new", model_id=MODEL_ID), NEW)
    assert second.model_id == MODEL_ID
    assert second.markdown("forams").splitlines()[:3] == [
        "# Deployment of forams: deployed",
        "",
        "The new model passed the gate and its trial as a canary, and version 2 (model 222222222222) of forams "
        "is served.",
    ]


def test_a_step_that_is_repeated_leaves_one_event(capsys: pytest.CaptureFixture[str]) -> None:
    log = RolloutLog()
    for _ in range(2):
        log.add("the canary answers the known slices as in the evaluation")
    assert log.events == ["the canary answers the known slices as in the evaluation"]
    assert capsys.readouterr().out.count("known slices") == 1


def test_the_sentence_of_a_rollback_has_the_reason(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError) as error:
        deploy(served_artifact, NEW)
    sentence = error.value.result.sentence("forams")
    assert sentence.startswith("The new model passed the gate but was rolled back, and version 1 of forams is served: ")
    assert "slice x/0 has scores that differ by up to 0.8" in sentence


def test_the_report_shows_how_to_ask_the_endpoint(served_artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.transformer_address = "http://forams-transformer.lab.svc.cluster.local"
    service = cluster.services[KEY]
    service["status"]["address"] = {"url": cluster.transformer_address}
    cluster.wrong_answers.add(NEW)
    with pytest.raises(RolledBackError) as error:
        deploy(served_artifact, NEW)
    lines = error.value.result.markdown("forams").splitlines()
    address = "http://forams-transformer.lab.svc.cluster.local/v1/models/forams:predict"
    assert f"- Address in the cluster: `{address}`" in lines
    assert "kubectl -n lab port-forward service/forams-transformer 8081:80" in lines
    assert "make ask URL=http://127.0.0.1:8081 MODEL=forams IMAGES=my-slice.png" in lines


def test_names_in_a_report_are_not_formatted() -> None:
    result = RolloutResult(1, "s3://a_b/c", RolloutLog(["Globigerina_bulloides is *new* | <b>"]))
    assert r"- Globigerina\_bulloides is \*new\* \| \<b\>" in result.markdown("forams")
    assert "- Address: `s3://a_b/c`" in result.markdown("forams")


def roll_out_with(cluster: Any, artifact: Path, uri: str, records: DeployRecords) -> RolloutResult:
    settings = CanarySettings(pairs=20, slower=1000, predictor=f"{cluster.address}/{{namespace}}/{{service}}")
    model = verify_model(artifact, uri, "foraminifera")
    trial = CanaryTrial(settings, None, Retries(3.0, 0.002, 0.6))
    return roll_out(model, urlsplit("kserve://lab/forams"), trial, records)


def test_the_monitor_has_the_version_before_users_reach_it(artifact: Path, cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    card = tmp_path / "models/foraminifera/1/model.json"
    seen: list[bool] = []
    cluster.on_complete = lambda _deployment, _uri: seen.append(card.exists())
    roll_out_with(cluster, artifact, OLD, DeployRecords(monitored_models=str(tmp_path / "models")))
    assert seen
    assert all(seen)


def test_nothing_changes_if_the_monitor_cannot_get_the_version(artifact: Path, cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="does not exist"):
        roll_out_with(cluster, artifact, OLD, DeployRecords(monitored_models=str(tmp_path / "missing")))
    assert cluster.written() == []


def test_nothing_changes_if_the_model_registrys_address_is_invalid(artifact: Path, cluster: Any) -> None:
    with pytest.raises(BadConfigError, match="address of the Model Registry"):
        roll_out_with(cluster, artifact, OLD, DeployRecords(registry="not an address"))
    assert cluster.written() == []


def test_a_silent_model_registry_does_not_stop_a_deployment(artifact: Path, cluster: Any) -> None:
    result = roll_out_with(cluster, artifact, OLD, DeployRecords(registry="http://127.0.0.1:9"))
    (note,) = result.log.notes
    assert note.startswith("version 1 of lab/forams is not ")
    assert f"- {note}".replace("_", r"\_")[:20] in result.markdown("forams")


def test_a_version_is_a_canary_in_the_model_registry_first(make_artifact: Callable[..., Path], cluster: Any) -> None:
    pytest.importorskip("model_registry")
    registry, outcomes = FakeModelRegistry(), []
    cluster.model_ids = {OLD: "1" * 64, NEW: MODEL_ID}
    registry.on_write = lambda: outcomes.append({name: outcome for name, (outcome, _) in registry.outcomes().items()})
    with http_server(registry.respond) as address:
        for uri, model_id in cluster.model_ids.items():
            roll_out_with(cluster, make_artifact(model_id, model_id=model_id), uri, DeployRecords(registry=address))
    assert outcomes[0] == {"1": "served"}
    assert {"1": "served", "2": "canary"} in outcomes
    assert outcomes[-1] == {"1": "replaced", "2": "served"}


def patch_of(*operations: dict[str, Any]) -> dict[str, Any]:
    labels = {"taxonflow.dev/endpoint-patch": "true"}
    return {"metadata": {"name": "wishes", "labels": labels}, "data": {"a.yaml": json.dumps(operations)}}


def test_an_endpoint_is_created_with_the_clusters_patches(artifact: Path, cluster: Any, deploy: Any) -> None:
    node = {"op": "add", "path": "/spec/predictor/nodeSelector", "value": {"disk": "fast"}}
    cluster.objects["configmaps"] = [patch_of(node)]
    deploy(artifact, OLD)
    assert cluster.services[KEY]["spec"]["predictor"]["nodeSelector"] == {"disk": "fast"}


def test_a_changed_patch_reaches_the_endpoint_before_the_canary(
    served_artifact: Path, cluster: Any, deploy: Any
) -> None:
    cluster.objects["configmaps"] = [patch_of({"op": "replace", "path": "/spec/predictor/minReplicas", "value": 2})]
    result = deploy(served_artifact, NEW)
    assert result.log.events[0] == "forams got the current settings of the deploy step and the cluster's patches"
    assert cluster.services[KEY]["spec"]["predictor"]["minReplicas"] == 2
    check_one_stable_revision(cluster, NEW)


def test_an_invalid_patch_stops_before_any_write(artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.objects["configmaps"] = [patch_of({"op": "remove", "path": "/spec/predictor/model"})]
    with pytest.raises(BadConfigError):
        deploy(artifact, OLD)
    assert cluster.written() == []
