"""Requests of pods as numbers, and what the nodes of a cluster have free for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from components.doctor.cluster import Document
from components.doctor.needs import PodNeeds

Amounts = dict[str, Decimal]
_IGNORED_EFFECT = "PreferNoSchedule"
GIBIBYTE = Decimal(2**30)


@dataclass(frozen=True)
class PodRequest:
    """Requests of a pod, and the nodes that it accepts.

    Attributes:
        name: Name of the task, or of the part of the endpoint.
        amounts: Requests by the resource's name.
        node_selector: Labels that the node must have.
        tolerations: Taints that the pod tolerates, with the fields of the Kubernetes API.
    """

    name: str
    amounts: Amounts
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()

    @property
    def text(self) -> str:
        """Return the requests for a sentence."""
        return f"{self.name} ({describe(self.amounts)})"


@dataclass(frozen=True)
class Node:
    """A node that accepts pods.

    Attributes:
        name: Name of the node.
        labels: Labels of the node.
        taints: Taints that keep pods away.
        allocatable: Amounts for pods by the resource's name.
        free: Amounts that no permanent pod has requested.
    """

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, Any]]
    allocatable: Amounts
    free: Amounts

    def accepts(self, pod: PodRequest) -> bool:
        """Return whether the pod selects the node and tolerates its taints."""
        if any(self.labels.get(key) != value for key, value in pod.node_selector.items()):
            return False
        return all(any(_tolerates(item, taint) for item in pod.tolerations) for taint in self.taints)


def amounts_of(quantities: Mapping[str, Any] | None) -> Amounts:
    """Return Kubernetes quantities as numbers; those that cannot be read are left out."""
    amounts = {}
    for key, value in (quantities or {}).items():
        try:
            amounts[key] = Decimal(parse_quantity(value))
        except (ValueError, ArithmeticError, TypeError):
            continue
    return amounts


def task_request(needs: PodNeeds) -> PodRequest:
    """Return the requests of a task's pod."""
    quantities = {"cpu": needs.cpu, "memory": needs.memory, needs.accelerator: str(needs.count) if needs.count else ""}
    amounts = amounts_of({key: value for key, value in quantities.items() if key and value})
    return PodRequest(needs.task, amounts, needs.node_selector, needs.tolerations)


def pod_request(name: str, pod: Document) -> PodRequest:
    """Return the requests of a pod's specification."""
    return PodRequest(name, pod_amounts(pod), pod.get("nodeSelector") or {}, pod.get("tolerations") or ())


def pod_amounts(pod: Document) -> Amounts:
    """Return what the scheduler counts for a pod: the sum of its containers, at least the largest initial one."""
    containers = total(_container_amounts(container) for container in pod.get("containers") or [])
    for container in pod.get("initContainers") or []:
        for key, value in _container_amounts(container).items():
            containers[key] = max(containers.get(key, Decimal(0)), value)
    return total([containers, amounts_of(pod.get("overhead"))])


def total(parts: Iterable[Mapping[str, Decimal]]) -> Amounts:
    """Return the sum of amounts."""
    amounts: Amounts = {}
    for part in parts:
        for key, value in part.items():
            amounts[key] = amounts.get(key, Decimal(0)) + value
    return amounts


def usable_nodes(nodes: Sequence[Document], pods: Sequence[Document]) -> list[Node]:
    """Return the nodes that are ready and accept pods, with what permanent pods leave free.

    Pods that end, such as those of tasks, are not counted: a new pod waits for them.

    Args:
        nodes: Nodes of the cluster.
        pods: Pods of the cluster.
    """
    specifications = [pod.get("spec") or {} for pod in pods]
    permanent_pods = [pod for pod in specifications if pod.get("restartPolicy", "Always") == "Always"]
    usable = []
    for node in nodes:
        specification, status = node.get("spec") or {}, node.get("status") or {}
        conditions = {item.get("type"): item.get("status") for item in status.get("conditions") or []}
        if specification.get("unschedulable") or conditions.get("Ready", "True") != "True":
            continue
        name, allocatable = node["metadata"]["name"], amounts_of(status.get("allocatable"))
        used = total(pod_amounts(pod) for pod in permanent_pods if pod.get("nodeName") == name)
        free = {key: value - used.get(key, Decimal(0)) for key, value in allocatable.items()}
        taints = [taint for taint in specification.get("taints") or [] if taint.get("effect") != _IGNORED_EFFECT]
        usable.append(Node(name, node["metadata"].get("labels") or {}, taints, allocatable, free))
    return usable


def fits(amounts: Amounts, space: Amounts) -> bool:
    """Return whether amounts fit into a space."""
    return all(value <= space.get(key, Decimal(0)) for key, value in amounts.items() if value > 0)


def pods_without_node(pods: Sequence[PodRequest], nodes: Sequence[Node]) -> list[PodRequest]:
    """Return the pods that find no node when all are placed at the same time, the largest first."""
    spaces = {node.name: dict(node.free) for node in nodes}
    without_node = []
    for pod in sorted(pods, key=lambda item: item.amounts.get("cpu", Decimal(0)), reverse=True):
        node = next((node for node in nodes if node.accepts(pod) and fits(pod.amounts, spaces[node.name])), None)
        if node is None:
            without_node.append(pod)
            continue
        space = spaces[node.name]
        spaces[node.name] = {key: value - pod.amounts.get(key, Decimal(0)) for key, value in space.items()}
    return without_node


def describe(amounts: Mapping[str, Decimal]) -> str:
    """Return amounts for a sentence, such as `2 CPUs, 4 GiB, 1 nvidia.com/gpu`."""
    parts = [_described_amount(key, value) for key, value in amounts.items() if key != "pods"]
    return ", ".join(parts) or "no requests"


def _described_amount(key: str, value: Decimal) -> str:
    if key == "memory":
        return f"{_number(value / GIBIBYTE)} GiB"
    return f"{_number(value)} CPUs" if key == "cpu" else f"{_number(value)} {key}"


def _number(value: Decimal) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _container_amounts(container: Document) -> Amounts:
    """Return the requests of a container; its limits where it has no requests."""
    resources = container.get("resources") or {}
    return {**amounts_of(resources.get("limits")), **amounts_of(resources.get("requests"))}


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    return toleration.get("key") == taint.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
