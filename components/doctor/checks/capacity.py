"""Nodes that can hold the pods of the tasks and of the endpoint."""

import contextlib
from decimal import Decimal

from components.doctor.checks.endpoint import endpoint_document
from components.doctor.cluster import Document, NotAllowedError
from components.doctor.examination import Examination
from components.doctor.findings import Answer, met, not_allowed, not_met
from components.doctor.resource_amounts import (
    Node,
    PodRequest,
    describe,
    fits,
    pod_request,
    pods_without_node,
    task_request,
    usable_nodes,
)

_LOOK = "kubectl describe nodes | grep -A 12 'Allocated resources'"
_ENDPOINT_LABEL = "serving.kserve.io/inferenceservice"
_NODE_SOURCES = ("/apis/karpenter.sh/v1", "/api/v1/namespaces/kube-system/configmaps/cluster-autoscaler-status")
_COMMON = frozenset({"cpu", "memory", "pods", "ephemeral-storage"})


def accelerators(examination: Examination) -> Answer:
    """Check that a node has the accelerators that a pod requests."""
    tasks = [pod for pod in _tasks(examination) if pod.amounts.keys() - _COMMON]
    parts = [pod for pod in _endpoint_pods(examination, 1) if pod.amounts.keys() - _COMMON]
    if not tasks and not parts:
        return met("none is requested")
    try:
        nodes = usable_nodes(examination.cluster.items("/api/v1/nodes") or [], [])
    except NotAllowedError as error:
        return not_allowed(f"the nodes cannot be read: {error}", "kubectl describe nodes | grep -A 8 Allocatable")
    absent_tasks = [pod for pod in tasks if not _has_accelerator(nodes, pod)]
    absent_parts = [pod for pod in parts if not _has_accelerator(nodes, pod)]
    if not absent_tasks and not absent_parts:
        return met(", ".join(dict.fromkeys(pod.text for pod in [*tasks, *parts])))
    if adds_nodes(examination):
        pods = ", ".join(dict.fromkeys(pod.text for pod in [*absent_tasks, *absent_parts]))
        return met(f"no node has them yet, but the cluster adds nodes: {pods}")
    kinds = sorted({key for node in nodes for key in node.allocatable if key not in _COMMON and "/" in key})
    pods = ", ".join(dict.fromkeys(f"{_accelerator(pod)} of {pod.name}" for pod in [*absent_tasks, *absent_parts]))
    commands = ["make submit RESOURCES=cpu HOST=... PRESET=..."] if absent_tasks else []
    commands += ["kubectl apply -k manifests/overlays/kind   # an endpoint without a GPU"] if absent_parts else []
    return not_met(f"no node has {pods}; the nodes have {', '.join(kinds) or 'no accelerator'}", "; ".join(commands))


def nodes_of_tasks(examination: Examination) -> Answer:
    """Check that a node can hold the pod of each task beside the permanent pods."""
    try:
        nodes, is_complete = _nodes(examination, "")
    except NotAllowedError as error:
        return not_allowed(f"the nodes cannot be read: {error}", _LOOK)
    tasks = [_without_accelerators(pod) for pod in _tasks(examination)]
    for pod in tasks:
        if pods_without_node([pod], nodes) and not adds_nodes(examination):
            return not_met(_problem(pod, nodes), _correction(pod, nodes))
    largest = max(tasks, key=lambda pod: pod.amounts.get("cpu", Decimal(0)), default=PodRequest("no task", {}))
    return met(f"{_described_nodes(nodes)} for {largest.text}{_remark(is_complete)}")


def nodes_of_endpoint(examination: Examination) -> Answer:
    """Check that the nodes can hold the endpoint, a canary and a rollout of the transformer at the same time."""
    try:
        nodes, is_complete = _nodes(examination, examination.endpoint)
    except NotAllowedError as error:
        return not_allowed(f"the nodes cannot be read: {error}", _LOOK)
    moments = {"the endpoint": 0, "the endpoint with a canary and a rollout": 1}
    for moment, additional_pods in moments.items():
        pods = [_without_accelerators(pod) for pod in _endpoint_pods(examination, additional_pods)]
        homeless = pods_without_node(pods, nodes)
        if homeless and not adds_nodes(examination):
            overlay = "kubectl apply -k manifests/overlays/kind   # smaller requests; or add a node"
            need = ", ".join(pod.text for pod in pods)
            return not_met(f"{moment} does not fit: {need}; {_described_nodes(nodes)}{_remark(is_complete)}", overlay)
    return met(f"{_described_nodes(nodes)} for {' and '.join(pod.text for pod in _endpoint_pods(examination, 0))}")


def adds_nodes(examination: Examination) -> bool:
    """Return whether the cluster adds nodes for pods that find none: with Karpenter or the Cluster Autoscaler."""
    for path in _NODE_SOURCES:
        with contextlib.suppress(NotAllowedError):
            if examination.cluster.read(path) is not None:
                return True
    return False


def endpoint_requests(examination: Examination) -> list[PodRequest]:
    """Return the requests of the endpoint's pods, without a canary."""
    return _endpoint_pods(examination, 0)


def _endpoint_pods(examination: Examination, additional_pods: int) -> list[PodRequest]:
    """Return the requests of the endpoint's pods.

    Args:
        examination: Subject of the checks.
        additional_pods: Number of pods of each part beside its replicas.
    """
    if not examination.endpoint_namespace:
        return []
    specification = endpoint_document(examination)["spec"]
    pods = []
    for part in ("predictor", "transformer"):
        document = specification[part]
        containers = document.get("containers") or [document["model"]]
        request = pod_request(part, {**document, "containers": containers})
        pods += [request] * (max(int(document.get("minReplicas") or 1), 1) + additional_pods)
    return pods


def _tasks(examination: Examination) -> list[PodRequest]:
    return [task_request(needs) for needs in examination.needs.pods]


def _nodes(examination: Examination, endpoint: str) -> tuple[list[Node], bool]:
    """Return the nodes, and whether the pods that run on them were visible; the endpoint's own pods are not counted."""
    documents = examination.cluster.items("/api/v1/nodes") or []
    try:
        pods = examination.cluster.items("/api/v1/pods", fieldSelector="status.phase!=Succeeded,status.phase!=Failed")
    except NotAllowedError:
        return usable_nodes(documents, []), False
    place = (examination.endpoint_namespace, endpoint)
    others = [pod for pod in pods or [] if not endpoint or _endpoint_of_pod(pod) != place]
    return usable_nodes(documents, others), True


def _endpoint_of_pod(pod: Document) -> tuple[str, str]:
    metadata = pod.get("metadata") or {}
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(_ENDPOINT_LABEL, "")


def _accelerator(pod: PodRequest) -> str:
    return describe({key: value for key, value in pod.amounts.items() if key not in _COMMON})


def _without_accelerators(pod: PodRequest) -> PodRequest:
    """Return the requests that every node has, so that an absent accelerator is named in one line only."""
    amounts = {key: value for key, value in pod.amounts.items() if key in _COMMON}
    return PodRequest(pod.name, amounts, pod.node_selector, pod.tolerations)


def _has_accelerator(nodes: list[Node], pod: PodRequest) -> bool:
    amounts = {key: value for key, value in pod.amounts.items() if key not in _COMMON}
    return any(fits(amounts, node.allocatable) for node in nodes)


def _problem(pod: PodRequest, nodes: list[Node]) -> str:
    accepting_nodes = [node for node in nodes if node.accepts(pod)]
    if not accepting_nodes:
        selector = ", ".join(f"{key}={value}" for key, value in pod.node_selector.items())
        taints = sorted({str(taint.get("key")) for node in nodes for taint in node.taints})
        reasons = [f"labels {selector}" if selector else "", f"taints {', '.join(taints)}" if taints else ""]
        return f"no ready node accepts {pod.text}: {'; '.join(filter(None, reasons)) or 'there is none'}"
    return f"no node has room for {pod.text}; {_described_nodes(accepting_nodes)}"


def _correction(pod: PodRequest, nodes: list[Node]) -> str:
    if not any(node.accepts(pod) for node in nodes):
        return "kubectl get nodes --show-labels; kubectl describe nodes | grep Taints"
    return f"{_LOOK}   # add a node for {describe(pod.amounts)}, or set smaller requests in the preset's resources"


def _described_nodes(nodes: list[Node]) -> str:
    """Return the node with the most free CPUs for a sentence."""
    if not nodes:
        return "no ready node"
    node = max(nodes, key=lambda item: item.free.get("cpu", Decimal(0)))
    amounts = {key: node.free[key] for key in ("cpu", "memory") if key in node.free}
    return f"{node.name} has {describe(amounts)} free"


def _remark(is_complete: bool) -> str:
    return "" if is_complete else " (without the running pods, which cannot be read)"
