"""Asks a freshly deployed model for slices whose answers the evaluation wrote down."""

import base64
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from components.shared.contracts import SERVED_TOLERANCE, Example
from components.shared.errors import DeployError

_TIMEOUT_S = 60.0
_ATTEMPTS = 5


def check_known_answers(
    url: str, folder: Path, examples: Sequence[Example], pause: float, specimen: str | None = None
) -> None:
    """Compares an endpoint's answers with the evaluation's.

    The scores may differ by SERVED_TOLERANCE.

    Args:
        url: the predict URL.
        folder: the version folder that holds the examples' files.
        examples: known slices.
        pause: seconds before an endpoint that does not answer yet is asked again.
        specimen: the specimens' name for a transformer; None for a predictor, which knows no such field.

    Raises:
        DeployError: the endpoint does not answer, or answers something else.
    """
    if not examples:
        return
    instances: list[dict[str, Any]] = [
        {"image_bytes": {"b64": base64.b64encode((folder / known.file).read_bytes()).decode()}} for known in examples
    ]
    if specimen is not None:
        named = zip(examples, instances, strict=True)
        instances = [{**instance, "specimen": f"{specimen}-{known.id}"} for known, instance in named]
    answers = _ask(url, {"instances": instances}, pause)
    if len(answers) != len(examples):
        raise DeployError(f"{url} gave {len(answers)} answers", f"{len(examples)}, one for each known slice")
    wrong = [complaint for pair in zip(examples, answers, strict=True) if (complaint := _complaint(*pair))]
    if wrong:
        raise DeployError(
            f"{len(wrong)} of {len(examples)} known slices are answered otherwise: {'; '.join(wrong[:3])}"
        )


def _ask(url: str, request: dict[str, Any], pause: float) -> list[Any]:
    """Posts a request, again if the endpoint is not there yet, and returns its predictions."""
    trouble = ""
    for attempt in range(_ATTEMPTS):
        time.sleep(pause if attempt else 0)
        try:
            answer = httpx.post(url, json=request, timeout=_TIMEOUT_S, trust_env=False)
        except httpx.HTTPError as error:
            trouble = f"it cannot be reached ({error})"
            continue
        if answer.status_code == httpx.codes.OK:
            return _predictions(url, answer)
        trouble = f"it answered {answer.status_code}: {answer.text[:200]}"
        if answer.is_client_error:
            break
    raise DeployError(f"{url} does not answer known slices: {trouble}")


def _predictions(url: str, answer: httpx.Response) -> list[Any]:
    try:
        return list(answer.json()["predictions"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeployError(f"{url} answers something else than predictions: {answer.text[:200]}") from error


def _complaint(known: Example, answer: Any) -> str:
    """Says how an answer differs from the evaluation's, "" if it does not."""
    try:
        scores = [math.nan if score is None else float(score) for score in answer["scores"]]
    except (KeyError, TypeError, ValueError):
        return f"slice {known.id} has no scores"
    if len(scores) != len(known.scores):
        return f"slice {known.id} has {len(scores)} scores instead of {len(known.scores)}"
    difference = known.difference(scores)
    if difference > SERVED_TOLERANCE:
        return f"slice {known.id} has scores {difference:.2g} off"
    return ""
