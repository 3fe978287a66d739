"""Readiness of a deployed model according to the objects of the cluster.

In Standard mode an InferenceService's `observedGeneration` is the generation of its last reconciled Deployment (KServe,
`PropagateRawStatus`), not its own, and its Ready condition stays True until the controller has observed a change.
Therefore a new model is ready when the predictor's Deployment is complete by the rule of `kubectl rollout status`, and
the Ready condition is True in addition.
"""

from typing import Any
from urllib.parse import urlsplit

from components.deploy.kserve.inference_service import VERSION_ANNOTATION

_DEFAULT_GRACE_PERIOD_S = 30
_LOCAL_PORT = 8081


def runs_version(deployment: dict[str, Any], version: int) -> bool:
    """Return whether every replica of the predictor's Deployment serves a model version and is available."""
    template = deployment.get("spec", {}).get("template", {})
    annotations = template.get("metadata", {}).get("annotations", {})
    return annotations.get(VERSION_ANNOTATION) == str(version) and is_complete(deployment)


def is_complete(deployment: dict[str, Any]) -> bool:
    """Return whether all replicas of a Deployment have its current template and are available."""
    status, replicas = deployment.get("status", {}), deployment.get("spec", {}).get("replicas", 1)
    return bool(status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]) and all(
        status.get(count, 0) == replicas for count in ("replicas", "updatedReplicas", "availableReplicas")
    )


def grace_period_s(deployment: dict[str, Any] | None) -> float:
    """Return the seconds for which pods of a Deployment may still answer after their deletion."""
    pod = (deployment or {}).get("spec", {}).get("template", {}).get("spec", {})
    return float(pod.get("terminationGracePeriodSeconds", _DEFAULT_GRACE_PERIOD_S))


def is_ready(service: dict[str, Any]) -> bool:
    """Return whether the InferenceService's Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(service))


def readiness_problems(service: dict[str, Any]) -> str:
    """Return the conditions that are not True and the last failure to load a model, separated by semicolons.

    Conditions of severity Info, for example `Stopped`, say nothing about the readiness.
    """
    reasons = [
        f"{c['type']} is {c['status']}: {c.get('message') or c.get('reason') or 'no message'}"
        for c in _conditions(service)
        if c["status"] != "True" and c.get("severity") != "Info"
    ]
    failure = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    if failure:
        reasons.append(f"{failure.get('reason', 'failure')}: {failure.get('message', 'no message')}")
    return "; ".join(reasons) or "the cluster reports no reason"


def predict_url(service: dict[str, Any]) -> str:
    """Return the public predict URL, "" until the cluster has assigned one."""
    status = service.get("status", {})
    return model_predict_url(status.get("url") or status.get("address", {}).get("url"), service["metadata"]["name"])


def internal_predict_url(service: dict[str, Any]) -> str:
    """Return the predict URL for clients in the cluster, which bypasses the gateway; the public one without it."""
    address = urlsplit(service.get("status", {}).get("address", {}).get("url") or "")
    base = f"{address.scheme}://{address.netloc}" if address.netloc else ""  # some KServe versions include the path
    return model_predict_url(base, service["metadata"]["name"]) or predict_url(service)


def ask_commands(namespace: str, service: dict[str, Any]) -> tuple[str, ...]:
    """Return the commands that ask the endpoint from a machine with kubectl; () in Knative mode.

    Args:
        namespace: Namespace of the service.
        service: InferenceService.
    """
    host = urlsplit(service.get("status", {}).get("address", {}).get("url") or "").hostname or ""
    entrance = host.split(".")[0]
    name = service["metadata"]["name"]
    if entrance not in (f"{name}-transformer", f"{name}-predictor"):
        return ()
    return (
        f"kubectl -n {namespace} port-forward service/{entrance} {_LOCAL_PORT}:80",
        f"make ask URL=http://127.0.0.1:{_LOCAL_PORT} MODEL={name} IMAGES=my-slice.png",
    )


def model_predict_url(base: str | None, name: str) -> str:
    """Return the predict URL of a model below a base URL, "" without a base URL."""
    return f"{base.rstrip('/')}/v1/models/{name}:predict" if base else ""


def _conditions(service: dict[str, Any]) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = service.get("status", {}).get("conditions", [])
    return conditions
