"""Reasons why the pods of a Deployment do not run: their own state, and the events that the cluster reports."""

from typing import Any

from components.deploy.kserve.client import Cluster, UnreachableError
from components.shared.errors import DeployError

_NORMAL_REASONS = ("ContainerCreating", "PodInitializing")
_Object = dict[str, Any]


def pod_problems(cluster: Cluster, deployment: _Object) -> str:
    """Return why pods of a Deployment do not become ready, "" without a known reason.

    Args:
        cluster: Cluster of the Deployment.
        deployment: Deployment.
    """
    if message := _refusal(deployment):
        return message
    labels = deployment.get("spec", {}).get("selector", {}).get("matchLabels", {})
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    try:
        pods = [pod for pod in cluster.pods(selector) if not pod["metadata"].get("deletionTimestamp")]
        unready_pods = [pod for pod in pods if not _is_ready(pod)]
        reasons = [
            f"pod {pod['metadata']['name']}: {problem}" for pod in unready_pods if (problem := _problem(cluster, pod))
        ]
        return "; ".join(reasons) or ("" if unready_pods else _creation_failure(cluster, selector))
    except UnreachableError:
        raise
    except DeployError as error:
        return f"why its pods do not run cannot be read: {error}"


def _refusal(deployment: _Object) -> str:
    """Return why the cluster refuses to create pods of a Deployment, "" if it does not."""
    conditions = deployment.get("status", {}).get("conditions", [])
    return next(
        (str(c.get("message")) for c in conditions if c["type"] == "ReplicaFailure" and c["status"] == "True"), ""
    )


def _creation_failure(cluster: Cluster, selector: str) -> str:
    """Return the last event in which a ReplicaSet could not create a pod, "" without one."""
    replica_sets = [each for each in cluster.replica_sets(selector) if _lacks_pods(each)]
    for replica_set in replica_sets:
        events = cluster.events("ReplicaSet", replica_set["metadata"]["name"])
        failures = [str(event.get("message")) for event in events if event.get("reason") == "FailedCreate"]
        if failures:
            return failures[-1]
    return ""


def _lacks_pods(replica_set: _Object) -> bool:
    return replica_set.get("status", {}).get("replicas", 0) < replica_set.get("spec", {}).get("replicas", 0)


def _is_ready(pod: _Object) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def _problem(cluster: Cluster, pod: _Object) -> str:
    """Return why a pod is not ready, from the most to the least specific source."""
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    reasons = [reason for container in containers if (reason := _container_problem(container))]
    if reasons:
        return "; ".join(reasons)
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"it is not scheduled: {condition.get('message') or condition.get('reason')}"
    warnings = [event for event in cluster.events("Pod", pod["metadata"]["name"]) if event.get("type") == "Warning"]
    return f"{warnings[-1].get('reason')}: {warnings[-1].get('message')}" if warnings else ""


def _container_problem(container: _Object) -> str:
    """Return why a container does not run, with the end of its last output if it has ended."""
    wait = container.get("state", {}).get("waiting", {})
    end = container.get("state", {}).get("terminated") or container.get("lastState", {}).get("terminated") or {}
    reason = wait.get("reason", "")
    has_failed = bool(end.get("exitCode")) and not container.get("ready")
    if (not reason or reason in _NORMAL_REASONS) and not has_failed:
        return ""
    texts = [f"container {container['name']}"]
    if reason and reason not in _NORMAL_REASONS:
        texts.append(f"waits ({reason}: {wait.get('message') or 'no message'})")
    if has_failed:
        output = " ".join(str(end.get("message") or end.get("reason") or "no message").split())
        texts.append(f"ended with exit code {end['exitCode']}: {output[-500:]}")
    return " ".join(texts)
