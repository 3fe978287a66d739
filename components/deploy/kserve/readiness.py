"""Checks of a deployed model: its readiness according to the cluster's objects, and its scores for known slices.

In Standard mode an InferenceService's `observedGeneration` is the generation of its last reconciled Deployment (KServe,
`PropagateRawStatus`), not its own, and its Ready condition stays True until the controller has observed a change.
Therefore a new model is ready when the predictor's Deployment is complete by the rule of `kubectl rollout status`, and
the Ready condition is True in addition.
"""

import base64
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from components.deploy.kserve.inference_service import VERSION_ANNOTATION
from components.deploy.verified_model import VerifiedModel
from components.shared.contracts import SERVED_TOLERANCE, Example
from components.shared.errors import DeployError

_TIMEOUT_S = 60.0
_ATTEMPTS = 5


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


def is_ready(service: dict[str, Any]) -> bool:
    """Return whether the InferenceService's Ready condition is True."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in _conditions(service))


def readiness_problems(service: dict[str, Any]) -> str:
    """Return the conditions that are not True and the last failure to load a model, separated by semicolons."""
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
    """Return the public predict URL, "" until the cluster has assigned one."""
    status = service.get("status", {})
    return model_predict_url(status.get("url") or status.get("address", {}).get("url"), service["metadata"]["name"])


def internal_predict_url(service: dict[str, Any]) -> str:
    """Return the predict URL for clients in the cluster, which bypasses the gateway; the public one without it."""
    address = urlsplit(service.get("status", {}).get("address", {}).get("url") or "")
    base = f"{address.scheme}://{address.netloc}" if address.netloc else ""  # some KServe versions include the path
    return model_predict_url(base, service["metadata"]["name"]) or predict_url(service)


def model_predict_url(base: str | None, name: str) -> str:
    """Return the predict URL of a model below a base URL, "" without a base URL."""
    return f"{base.rstrip('/')}/v1/models/{name}:predict" if base else ""


def _conditions(service: dict[str, Any]) -> list[dict[str, Any]]:
    conditions: list[dict[str, Any]] = service.get("status", {}).get("conditions", [])
    return conditions


def check_known_answers(url: str, model: VerifiedModel, pause: float, specimen: str | None = None) -> None:
    """Compare an endpoint's scores for the model's examples with those of the evaluation, within SERVED_TOLERANCE.

    Args:
        url: Predict URL.
        model: Model with the examples.
        pause: Seconds between two attempts while the endpoint does not answer.
        specimen: Prefix of the specimen names for a transformer; None for a predictor, which has no such input.

    Raises:
        DeployError: The endpoint does not answer, or its scores differ.
    """
    examples = model.card.examples
    if not examples:
        return
    predictions = _predict(url, {"instances": _instances(model.folder, examples, specimen)}, pause)
    if len(predictions) != len(examples):
        raise DeployError(f"{url} returned {len(predictions)} predictions", f"{len(examples)}, one per known slice")
    pairs = zip(examples, predictions, strict=True)
    differences = [difference for pair in pairs if (difference := _describe_difference(*pair))]
    if differences:
        raise DeployError(
            f"{len(differences)} of {len(examples)} known slices have other scores than in the evaluation "
            f"({'; '.join(differences[:3])})"
        )


def _instances(folder: Path, examples: Sequence[Example], specimen: str | None) -> list[dict[str, Any]]:
    """Return the instances of a predict request."""
    instances: list[dict[str, Any]] = []
    for example in examples:
        image = base64.b64encode((folder / example.file).read_bytes()).decode()
        name = {} if specimen is None else {"specimen": f"{specimen}-{example.id}"}
        instances.append({"image_bytes": {"b64": image}, **name})
    return instances


def _predict(url: str, request: dict[str, Any], pause: float) -> list[Any]:
    """Send a predict request, retry while the endpoint is unavailable, and return the predictions."""
    failure = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(pause if attempt else 0)
        try:
            response = httpx.post(url, json=request, timeout=_TIMEOUT_S, trust_env=False)
        except httpx.HTTPError as error:
            failure = f"unreachable ({error})"
            continue
        if response.status_code == httpx.codes.OK:
            return _read_predictions(url, response)
        failure = f"status {response.status_code}: {response.text[:200]}"
        if response.is_client_error:
            break
    raise DeployError(f"{url} does not answer known slices ({failure})")


def _read_predictions(url: str, response: httpx.Response) -> list[Any]:
    try:
        return list(response.json()["predictions"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{url} returned {response.text[:200]}", 'a JSON object with "predictions"') from error


def _describe_difference(example: Example, prediction: Any) -> str:
    """Return the difference between a prediction and the evaluation's scores, "" within the tolerance."""
    try:
        scores = [math.nan if score is None else float(score) for score in prediction["scores"]]
    except (KeyError, TypeError, ValueError):
        return f"slice {example.id} has no scores"
    if len(scores) != len(example.scores):
        return f"slice {example.id} has {len(scores)} scores instead of {len(example.scores)}"
    difference = example.difference(scores)
    if difference > SERVED_TOLERANCE:
        return f"slice {example.id} has scores that differ by up to {difference:.2g}"
    return ""
