"""Check of an endpoint by known slices: which model answers them, and whether its scores are the evaluation's.

After a change of the model, answers of another one are no fault for a while: pods that end keep their open connections
until their grace period is over. Therefore the known slices are sent on a new connection each time, only the answers of
the expected model are compared, and the check ends after several answers of that model in a row.
"""

import base64
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from components.deploy.kserve.inference_service import ModelVersion
from components.deploy.verified_model import VerifiedModel
from components.shared.contracts import SERVED_TOLERANCE, Example
from components.shared.errors import DeployError

_TIMEOUT_S = 30.0
_MAX_PAUSE_S = 1.0


@dataclass(frozen=True)
class Patience:
    """Bounds of a check.

    Attributes:
        seconds: Seconds within which the expected model must answer.
        pause: Seconds between two requests, at most one.
        rounds: Number of requests in a row that the expected model must answer.
    """

    seconds: float
    pause: float
    rounds: int = 1


@dataclass(frozen=True)
class Endpoint:
    """Predict URL and the model that should answer there.

    Attributes:
        url: Predict URL.
        version: Version that should answer.
        versions: Version numbers of the models that may answer, by their ids.
        specimen: Prefix of the specimen names for a transformer; None for a predictor, which has no such input.
    """

    url: str
    version: ModelVersion
    versions: Mapping[str, int]
    specimen: str | None = None


def check_known_answers(endpoint: Endpoint, model: VerifiedModel, patience: Patience) -> None:
    """Wait until the expected model answers its examples as in the evaluation, within SERVED_TOLERANCE.

    A model without an id is recognized by its scores.

    Raises:
        DeployError: The expected model has other scores, or does not answer within the time limit.
    """
    if not model.card.examples:
        return
    request = {"instances": _instances(model, endpoint.specimen)}
    start, rounds = time.monotonic(), 0
    while True:
        problem = _ask(endpoint, model, request)
        rounds = 0 if problem else rounds + 1
        if rounds >= patience.rounds:
            return
        seconds = time.monotonic() - start
        if problem and seconds >= patience.seconds:
            raise DeployError(f"{problem}, for {seconds:.3g} s")
        time.sleep(min(patience.pause, _MAX_PAUSE_S))


def describe_answers(endpoint: Endpoint, model: VerifiedModel) -> str:
    """Return a sentence on which models answer a model's examples now, or why there are no answers."""
    if not model.card.examples:
        return "there are no known slices"
    predictions, problem = _predict(endpoint.url, {"instances": _instances(model, endpoint.specimen)})
    models = sorted({describe_model(_model_id(prediction), endpoint.versions) for prediction in predictions})
    return problem or f"{' and '.join(models) or 'no model'} answers the known slices at {endpoint.url}"


def describe_model(model_id: str, versions: Mapping[str, int]) -> str:
    """Return a description of the model that gave an answer, for example "version 1 (model 0123456789ab)"."""
    version = f"version {versions[model_id]}" if model_id in versions else "an unknown version"
    return f"{version} (model {model_id[:12]})" if model_id else f"{version} (a model without an id)"


def _instances(model: VerifiedModel, specimen: str | None) -> list[dict[str, Any]]:
    """Return the instances of a predict request."""
    instances: list[dict[str, Any]] = []
    for example in model.card.examples:
        image = base64.b64encode((model.folder / example.file).read_bytes()).decode()
        name = {} if specimen is None else {"specimen": f"{specimen}-{example.id}"}
        instances.append({"image_bytes": {"b64": image}, **name})
    return instances


def _ask(endpoint: Endpoint, model: VerifiedModel, request: dict[str, Any]) -> str:
    """Send the known slices once; return why the answers are not those of the model, "" if they are.

    Raises:
        DeployError: The expected model has other scores than in the evaluation.
    """
    predictions, problem = _predict(endpoint.url, request)
    examples = model.card.examples
    if problem or len(predictions) != len(examples):
        return problem or f"{endpoint.url} returned {len(predictions)} predictions instead of {len(examples)}"
    expected_id = endpoint.version.model_id
    ids = [_model_id(prediction) for prediction in predictions]
    answers = zip(examples, predictions, ids, strict=True)
    pairs = [(example, prediction) for example, prediction, model_id in answers if model_id == expected_id]
    differences = [difference for pair in pairs if (difference := _describe_difference(*pair))]
    summary = (
        f"{len(differences)} of {len(examples)} known slices have other scores than in the evaluation "
        f"({'; '.join(differences[:3])})"
    )
    if differences and expected_id:
        raise DeployError(summary)
    others = sorted({describe_model(model_id, endpoint.versions) for model_id in ids if model_id != expected_id})
    if others:
        target = describe_model(expected_id, {expected_id: endpoint.version.version})
        return f"{endpoint.url} is answered by {' and '.join(others)} instead of {target}"
    return summary if differences else ""


def _model_id(prediction: Any) -> str:
    model_id = prediction.get("model", "") if isinstance(prediction, dict) else ""
    return model_id if isinstance(model_id, str) else ""


def _predict(url: str, request: dict[str, Any]) -> tuple[list[Any], str]:
    """Send a predict request on a new connection; return the predictions, or why there are none."""
    try:
        response = httpx.post(url, json=request, timeout=_TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        return [], f"{url} does not answer known slices (unreachable: {error})"
    if response.status_code != httpx.codes.OK:
        return [], f"{url} does not answer known slices (status {response.status_code}: {response.text[:200]})"
    try:
        return list(response.json()["predictions"]), ""
    except (ValueError, KeyError, TypeError):
        return [], f'{url} returned {response.text[:200]} instead of a JSON object with "predictions"'


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
