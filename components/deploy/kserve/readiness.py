"""Whether a roll-out has ended, read from the cluster's objects.

In Standard mode an InferenceService's `observedGeneration` is that of its last reconciled Deployment (KServe,
`PropagateRawStatus`), not its own, and its Ready stays True until the controller has seen a change. So readiness of a
new model is judged by the rule of `kubectl rollout status` on the predictor's Deployment, and Ready comes on top.
"""

from typing import Any
from urllib.parse import urlsplit

from components.deploy.kserve.inference_service import VERSION_ANNOTATION


def runs_version(deployment: dict[str, Any], version: int) -> bool:
    """Returns whether every replica of the predictor's Deployment serves a model version and is available."""
    template = deployment.get("spec", {}).get("template", {})
    annotations = template.get("metadata", {}).get("annotations", {})
    return annotations.get(VERSION_ANNOTATION) == str(version) and is_complete(deployment)


def is_complete(deployment: dict[str, Any]) -> bool:
    """Returns whether all replicas of a Deployment are of its present template and available."""
    status, wanted = deployment.get("status", {}), deployment.get("spec", {}).get("replicas", 1)
    return bool(status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]) and all(
        status.get(count, 0) == wanted for count in ("replicas", "updatedReplicas", "availableReplicas")
    )


def is_ready(service: dict[str, Any]) -> bool:
    """Returns whether the InferenceService's Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(service))


def reasons_not_ready(service: dict[str, Any]) -> str:
    """Returns the conditions that are not True and the last failure to load a model, as one sentence part."""
    reasons = [
        f"{c['type']} is {c['status']}: {c.get('message') or c.get('reason') or 'no message'}"
        for c in _conditions(service)
        if c["status"] != "True"
    ]
    failure = service.get("status", {}).get("modelStatus", {}).get("lastFailureInfo", {})
    if failure:
        reasons.append(f"{failure.get('reason', 'failure')}: {failure.get('message', 'no message')}")
    return "; ".join(reasons) or "the cluster reports no reason"


def predict_url(service: dict[str, Any]) -> str:
    """Returns the address to which slices are posted, or "" while the cluster has given none."""
    status = service.get("status", {})
    return _predict(status.get("url") or status.get("address", {}).get("url"), service["metadata"]["name"])


def internal_predict_url(service: dict[str, Any]) -> str:
    """Returns the same for clients in the cluster, who need no gateway; the public one where there is none."""
    address = urlsplit(service.get("status", {}).get("address", {}).get("url") or "")
    base = f"{address.scheme}://{address.netloc}" if address.netloc else ""  # some versions of KServe add the path
    return _predict(base, service["metadata"]["name"]) or predict_url(service)


def _predict(base: str | None, name: str) -> str:
    return f"{base.rstrip('/')}/v1/models/{name}:predict" if base else ""


def _conditions(service: dict[str, Any]) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = service.get("status", {}).get("conditions", [])
    return conditions
