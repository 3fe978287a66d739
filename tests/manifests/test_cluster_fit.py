"""Whether the endpoint fits its cluster: requests on a small node, and network policies that let the right pods in."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.manifests.endpoint import Documents, patched_service, pods_of_service

DocumentsOf = Callable[[str], Documents]
INITIALIZER = {"resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}
"""Requests of KServe's storage initializer."""
PREDICTORS, TRANSFORMERS = 5, 3
"""Most pods at a time: two old, two new and a canary; the new transformer and two that are terminating."""
FREE_CPU_MILLIS, FREE_MEMORY_MIB = 700, 4096
"""What Kubernetes, Kubeflow Pipelines and KServe leave of two CPUs, and a part of the memory of a small machine."""
MEBIBYTES = {"Mi": 1, "Gi": 1024}
RUN = {"pipelines.kubeflow.org/v2_component": "true"}


def cpu_millis(quantity: str) -> float:
    return float(quantity[:-1]) if quantity.endswith("m") else 1000 * float(quantity)


def memory_mib(quantity: str) -> float:
    match = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    assert match, quantity
    return int(match[1]) * MEBIBYTES[match[2]]


def requests_of(pod: dict[str, Any]) -> tuple[float, float]:
    """Return a pod's requests as the scheduler counts them: the larger of its init containers and its containers."""
    millis, mebibytes = [0.0], [0.0]
    for container in pod["containers"]:
        millis[0] += cpu_millis(container["resources"]["requests"]["cpu"])
        mebibytes[0] += memory_mib(container["resources"]["requests"]["memory"])
    for container in pod.get("initContainers", []):
        millis.append(cpu_millis(container["resources"]["requests"]["cpu"]))
        mebibytes.append(memory_mib(container["resources"]["requests"]["memory"]))
    return max(millis), max(mebibytes)


def test_two_cpus_hold_a_canary_and_a_roll_out_of_both(documents_of: DocumentsOf) -> None:
    documents = documents_of("overlays/kind")
    pods = pods_of_service(patched_service(documents), INITIALIZER)
    (monitor,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Deployment")
    (job,) = (each["spec"]["template"]["spec"] for each in documents if each["kind"] == "Job")
    counted_pods = [*[pods["predictor"]] * PREDICTORS, *[pods["transformer"]] * TRANSFORMERS, monitor, job]
    requests = [requests_of(pod) for pod in counted_pods]
    assert sum(millis for millis, _ in requests) <= FREE_CPU_MILLIS
    assert sum(mebibytes for _, mebibytes in requests) <= FREE_MEMORY_MIB
    assert all("nvidia.com/gpu" not in each["resources"]["requests"] for each in pods["predictor"]["containers"])


def admits(policy: dict[str, Any], namespace: dict[str, str], labels: dict[str, str], own_namespace: bool) -> bool:
    """Return whether a policy lets a pod in.

    Args:
        policy: Spec of a NetworkPolicy.
        namespace: Labels of the pod's namespace.
        labels: Labels of the pod.
        own_namespace: Whether the pod is in the namespace of the policy.
    """
    return any(
        "from" not in rule or any(is_peer(peer, namespace, labels, own_namespace) for peer in rule["from"])
        for rule in policy["ingress"]
    )


def is_peer(peer: dict[str, Any], namespace: dict[str, str], labels: dict[str, str], own_namespace: bool) -> bool:
    in_namespace = (
        peer["namespaceSelector"].get("matchLabels", {}).items() <= namespace.items()
        if "namespaceSelector" in peer
        else own_namespace
    )
    return in_namespace and peer.get("podSelector", {}).get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize(
    ("target", "labels", "source"),
    [
        ("taxonflow-predictor", {"app.kubernetes.io/part-of": "taxonflow", "component": "transformer"}, "own"),
        ("taxonflow-predictor", RUN, "own"),
        ("taxonflow-predictor", {"app.kubernetes.io/name": "prometheus"}, "monitoring"),
        ("taxonflow-transformer", RUN, "own"),
        ("taxonflow-transformer", {"app.kubernetes.io/name": "prometheus"}, "monitoring"),
        ("taxonflow-transformer", {"app": "istio-ingressgateway"}, "istio-system"),
        ("taxonflow-monitor", {"app.kubernetes.io/name": "prometheus"}, "monitoring"),
    ],
)
def test_the_policies_admit_users_runs_and_prometheus(
    documents_of: DocumentsOf, target: str, labels: dict[str, str], source: str
) -> None:
    policies = {
        each["metadata"]["name"]: each["spec"]
        for each in documents_of("overlays/production")
        if each["kind"] == "NetworkPolicy"
    }
    namespace = {"kubernetes.io/metadata.name": source}
    assert admits(policies[target], namespace, labels, own_namespace=source == "own")
    others = {"app": "other"}
    if target != "taxonflow-transformer":
        assert not admits(policies[target], {"kubernetes.io/metadata.name": "own"}, others, own_namespace=True)
    if target == "taxonflow-predictor":
        assert not admits(policies[target], {"kubernetes.io/metadata.name": "other"}, RUN, own_namespace=False)


def test_no_sidecar_of_istio_stands_between_our_pods(documents_of: DocumentsOf) -> None:
    documents = documents_of("overlays/production")
    service = patched_service(documents)["spec"]
    templates = [each["spec"]["template"]["metadata"] for each in documents if "template" in each.get("spec", {})]
    labels = [*(template["labels"] for template in templates), *(service[part].get("labels", {}) for part in service)]
    assert len(labels) == 4
    assert [each.get("sidecar.istio.io/inject") for each in labels] == ["false"] * 4


def test_the_namespace_of_kind_is_one_that_the_object_store_admits(documents_of: DocumentsOf) -> None:
    namespaces = {document["metadata"]["namespace"] for document in documents_of("overlays/kind")}
    assert namespaces == {"kubeflow"}, "seaweedfs admits kubeflow and the namespaces of profiles"
