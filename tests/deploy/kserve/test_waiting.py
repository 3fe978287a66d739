"""Reasons for which a rollout waits: conditions, pods and events, in log lines that are few and complete."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.deploy.kserve.checks import waiting
from components.deploy.kserve.checks.pod_problems import pod_problems
from components.deploy.kserve.checks.readiness import is_complete, is_ready, readiness_problems, runs_version
from components.deploy.kserve.checks.waiting import ReasonLog
from components.deploy.kserve.client import Cluster
from components.shared.errors import DeployError

RECORDED = Path(__file__).parents[4] / "shared" / "cluster"
PREDICTOR = "forams-predictor"
LABELS = {"app": f"isvc.{PREDICTOR}"}
DENIED = (
    'pods "forams-predictor-6f8c64fbf4-jwqtw" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "storage-initializer" must set '
    "securityContext.allowPrivilegeEscalation=false)"
)


def recorded(moment: str) -> list[dict[str, Any]]:
    path = RECORDED / f"{moment}.yaml"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(objects: list[dict[str, Any]], kind: str, name: str = "") -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind and name in each["metadata"]["name"]]


def pod(name: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": LABELS}, "status": {"conditions": [], **status}}


def event(kind: str, name: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"{name}.1"},
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason,
        "message": message,
        "type": "Warning",
        "lastTimestamp": "2026-11-27T23:00:00Z",
    }


@pytest.fixture
def lab(cluster: Any) -> Cluster:  # noqa: ARG001 the cluster must answer
    return Cluster("lab")


@pytest.fixture
def deployment() -> dict[str, Any]:
    return {"metadata": {"name": PREDICTOR}, "spec": {"selector": {"matchLabels": LABELS}}, "status": {}}


def test_a_recorded_service_has_no_problems_of_severity_info() -> None:
    (service,) = of_kind(recorded("1-served"), "InferenceService")
    assert any(c["type"] == "Stopped" and c["status"] == "False" for c in service["status"]["conditions"])
    assert readiness_problems(service) == "the cluster reports no reason"


@pytest.mark.parametrize("moment", ["4-promoting", "5-promoted-old-pods-still-answer"])
def test_a_recorded_promotion_is_complete_while_old_pods_are_ready(moment: str) -> None:
    objects = recorded(moment)
    (service,) = of_kind(objects, "InferenceService")
    (predictor,) = of_kind(objects, "Deployment", "predictor")
    assert is_ready(service)
    assert runs_version(predictor, 2)
    ending = [each for each in of_kind(objects, "Pod") if each["metadata"].get("deletionTimestamp")]
    ready = [c["status"] for each in ending for c in each["status"]["conditions"] if c["type"] == "Ready"]
    assert len(ready) >= 2
    assert set(ready) == {"True"}


def test_recorded_pods_that_are_ready_have_no_problems(lab: Cluster, cluster: Any) -> None:
    objects = recorded("5-promoted-old-pods-still-answer")
    cluster.objects["pods"] = of_kind(objects, "Pod")
    for each in of_kind(objects, "Deployment"):
        assert is_complete(each)
        assert pod_problems(lab, each) == ""


def test_a_pod_that_cannot_be_scheduled_is_named(lab: Cluster, cluster: Any) -> None:
    objects = recorded("1-served")
    (pending,) = copy.deepcopy(of_kind(objects, "Pod", "transformer"))
    message = "0/1 nodes are available: 1 Insufficient cpu."
    pending["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }
    cluster.objects["pods"] = [pending]
    (transformer,) = of_kind(objects, "Deployment", "transformer")
    assert pod_problems(lab, transformer) == f"pod {pending['metadata']['name']}: it is not scheduled: {message}"


@pytest.mark.parametrize(
    ("containers", "reason", "ended", "problem"),
    [
        ("containerStatuses", "ImagePullBackOff", "", "pod p: container main waits (ImagePullBackOff: back-off)"),
        (
            "initContainerStatuses",
            "CrashLoopBackOff",
            "line\nNo such bucket",
            "pod p: container main waits (CrashLoopBackOff: back-off) ended with exit code 1: line No such bucket",
        ),
        ("containerStatuses", "PodInitializing", "", ""),
    ],
)
def test_containers_that_do_not_run_are_named(
    lab: Cluster, cluster: Any, deployment: dict[str, Any], containers: str, reason: str, ended: str, problem: str
) -> None:
    required = {"image": "i", "imageID": "i", "ready": False, "restartCount": 0}
    state = {"state": {"waiting": {"reason": reason, "message": "back-off"}}}
    last = {"lastState": {"terminated": {"exitCode": 1, "message": ended}}} if ended else {}
    cluster.objects["pods"] = [pod("p", **{containers: [{"name": "main", **required, **state, **last}]})]
    assert pod_problems(lab, deployment) == problem


def test_the_event_of_a_pod_is_the_reason_if_its_state_has_none(
    lab: Cluster, cluster: Any, deployment: dict[str, Any]
) -> None:
    cluster.objects["pods"] = [pod("p")]
    cluster.objects["events"] = [event("Pod", "p", "FailedMount", 'secret "store" not found')]
    assert pod_problems(lab, deployment) == 'pod p: FailedMount: secret "store" not found'


@pytest.mark.parametrize("source", ["condition", "event"])
def test_a_refused_pod_is_reported_in_full(lab: Cluster, cluster: Any, deployment: dict[str, Any], source: str) -> None:
    if source == "condition":
        deployment["status"] = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": DENIED}]}
    else:
        name = f"{PREDICTOR}-6f8c64fbf4"
        spec = {"replicas": 1, "selector": {"matchLabels": LABELS}}
        replica_set = {"metadata": {"name": name, "labels": LABELS}, "spec": spec, "status": {"replicas": 0}}
        cluster.objects["replicasets"] = [replica_set]
        cluster.objects["events"] = [event("ReplicaSet", name, "FailedCreate", f"Error creating: {DENIED}")]
    assert pod_problems(lab, deployment).endswith(DENIED)


def test_missing_rights_are_named_as_the_reason(lab: Cluster, cluster: Any, deployment: dict[str, Any]) -> None:
    cluster.answer_instead = lambda _method, path: (403, {"message": "no"}) if "/pods" in path else None
    assert "why its pods do not run cannot be read: the Kubernetes API returned 403" in pod_problems(lab, deployment)


def test_a_rollout_reports_the_reason_in_full(artifact: Path, cluster: Any, deploy: Any) -> None:
    cluster.unloadable.add("pvc://runs/a")
    cluster.objects["pods"] = []
    cluster.refusal = DENIED
    with pytest.raises(DeployError) as error:
        deploy(artifact, "pvc://runs/a", timeout=0.05)
    assert f"forams-predictor does not serve version 1 yet: {DENIED}" in str(error.value)


def test_a_reason_is_logged_once_and_again_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = ReasonLog(900.0)
    for reason in (DENIED, DENIED.replace("jwqtw", "abcde"), "the next", "the next", DENIED):
        reasons.add(reason)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"[deploy] waiting, 0 of at most 900 s: {text}" for text in (DENIED, "the next", DENIED)]


def test_a_reason_is_repeated_after_the_interval(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LINE_INTERVAL_S", 0.0)
    reasons = ReasonLog(900.0)
    for _ in range(3):
        reasons.add("the same")
    assert len(capsys.readouterr().out.splitlines()) == 3
