"""Pod Security and requests of pods, computed from documents."""

from decimal import Decimal
from typing import Any

import pytest

from components.deploy.kserve.inference_service import inference_service
from components.doctor.checks.pod_security import violations
from components.doctor.resource_amounts import (
    PodRequest,
    amounts_of,
    pod_amounts,
    pod_request,
    pods_without_node,
    usable_nodes,
)

SAFE: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
EXECUTOR: dict[str, Any] = {
    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
    "initContainers": [{"name": name, "securityContext": SAFE} for name in ("init", "kfp-launcher")],
    "containers": [{"name": name, "securityContext": SAFE} for name in ("main", "wait")],
    "volumes": [{"name": "var-run-argo", "emptyDir": {}}, {"name": "key", "secret": {"secretName": "x"}}],
}
"""Pod of a task as Kubeflow Pipelines 2.17 makes it, with the user that the compiled pipeline sets."""


def pod(**security: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "securityContext": {**SAFE, **security}}]}


def node(name: str = "n", cpu: str = "4", **spec: Any) -> dict[str, Any]:
    labels = spec.pop("labels", {})
    allocatable = {"cpu": cpu, "memory": "8Gi"}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}}


def running_pod(node_name: str, cpu: str, policy: str = "Always") -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu}}}]
    return {"spec": {"nodeName": node_name, "restartPolicy": policy, "containers": containers}}


@pytest.mark.parametrize(
    ("document", "level", "refusals"),
    [
        (pod(), "restricted", []),
        (pod(runAsNonRoot=None), "restricted", ["container main: runAsNonRoot != true"]),
        (pod(runAsUser=0), "restricted", ["container main: runAsUser is 0"]),
        (pod(allowPrivilegeEscalation=True), "restricted", ["container main: allowPrivilegeEscalation != false"]),
        (pod(capabilities={}), "restricted", ["container main: capabilities.drop lacks ALL"]),
        (pod(seccompProfile={}), "restricted", ["container main: seccompProfile is not RuntimeDefault"]),
        (pod(privileged=True), "baseline", ["container main is privileged"]),
        (pod(capabilities={"add": ["SYS_ADMIN"]}), "baseline", ["container main adds capabilities"]),
        (pod(runAsNonRoot=None, seccompProfile={}), "baseline", []),
        ({**pod(), "hostNetwork": True}, "baseline", ["hostNetwork is set"]),
        ({**pod(), "volumes": [{"name": "x", "hostPath": {}}]}, "baseline", ["volume x is a host path"]),
        (
            {**pod(), "volumes": [{"name": "x", "nfs": {}}]},
            "restricted",
            ["volume x is of a kind that is not allowed"],
        ),
        (pod(privileged=True), "privileged", []),
    ],
)
def test_levels_of_pod_security_refuse_what_the_standard_names(
    document: dict[str, Any], level: str, refusals: list[str]
) -> None:
    assert violations(document, level) == refusals


def test_the_restricted_level_admits_our_pods() -> None:
    specification = inference_service("x")["spec"]
    predictor = specification["predictor"]
    model = {**predictor, "containers": [{"name": "kserve-container", **predictor["model"]}]}
    pods = [EXECUTOR, specification["transformer"], model]
    assert [violations(document, "restricted") for document in pods] == [[], [], []]


def test_a_pod_requests_its_containers_or_its_largest_initial_one() -> None:
    containers = [
        {"resources": {"requests": {"cpu": "500m"}}},
        {"resources": {"limits": {"cpu": "1", "memory": "1Ki"}}},
    ]
    initial = [{"resources": {"requests": {"cpu": "1", "memory": "2Ki"}}}]
    document = {"containers": containers, "initContainers": initial, "overhead": {"cpu": "250m"}}
    assert pod_amounts(document) == {"cpu": Decimal("1.75"), "memory": 2048}


def test_quantities_that_cannot_be_read_are_left_out() -> None:
    assert amounts_of({"cpu": "1500m", "memory": "much", "x": None}) == {"cpu": Decimal("1.5")}


def test_pods_that_end_leave_their_room_to_others() -> None:
    pods = [running_pod("n", "1"), running_pod("n", "2", "Never"), running_pod("other", "3")]
    assert usable_nodes([node()], pods)[0].free["cpu"] == 3


@pytest.mark.parametrize(
    ("change", "is_usable"),
    [
        ({}, True),
        ({"unschedulable": True}, False),
        ({"taints": [{"key": "gpu", "value": "a100", "effect": "NoSchedule"}]}, True),
        ({"taints": [{"key": "gpu", "value": "l4", "effect": "NoExecute"}]}, False),
        ({"taints": [{"key": "spot", "effect": "PreferNoSchedule"}]}, True),
        ({"labels": {"zone": "b"}}, False),
    ],
)
def test_nodes_accept_pods_by_labels_and_taints(change: dict[str, Any], is_usable: bool) -> None:
    document = {
        "nodeSelector": {"zone": "a"},
        "tolerations": [{"key": "gpu", "operator": "Equal", "value": "a100"}],
        "containers": [{"resources": {"requests": {"cpu": "1"}}}],
    }
    request = pod_request("train", document)
    nodes = usable_nodes([node(**{"labels": {"zone": "a"}, **change})], [])
    assert (pods_without_node([request], nodes) == []) is is_usable


def test_a_node_that_is_not_ready_takes_no_pods() -> None:
    document = node()
    document["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    assert usable_nodes([document], []) == []


def test_pods_are_placed_beside_each_other() -> None:
    nodes = usable_nodes([node("a", "2"), node("b", "1")], [])
    requests = [PodRequest(str(number), amounts_of({"cpu": cpu})) for number, cpu in enumerate(("1", "500m", "1500m"))]
    assert pods_without_node(requests, nodes) == []
    assert [request.name for request in pods_without_node([*requests, requests[0]], nodes)] == ["0"]
