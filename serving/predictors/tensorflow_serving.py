"""TensorFlow Serving over HTTP as the predictor of a transformer, with or without a canary beside it.

In KServe's Standard mode the transformer has to split the traffic itself: the weights of `spec.canary` only apply to
routes to predictors, and the transformer calls the predictor's Service directly. A request goes to one model as a
whole, so that the slices of a specimen are voted on by one model. The predictor answers whenever the canary fails.
"""

import base64
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import httpx
import numpy as np
import orjson

from serving.command import report
from serving.outputs import OPTIONAL_OUTPUTS, REQUIRED_OUTPUTS, Outputs
from serving.predictors.answering_models import AnsweringModels
from serving.predictors.base import Expectation
from serving.predictors.connection_pool import Answer, ConnectionPool
from serving.protocol import INPUT, RequestError, SignatureInput
from serving.votes import ModelDescription, describe_model

STATUS_LIFETIME_S = 2.0
MAX_CANARY_TIMEOUT_S = 30.0
_READY_TIMEOUT_S = 3.0
_MOST_MODELS = 8


@dataclass(frozen=True)
class RemoteVersion:
    """A version that TensorFlow Serving has in memory.

    Attributes:
        predictor: Predictor that sends the requests.
        version: Version number that is asked; drift events name the one that answered.
        is_pinned: Whether the client requested this version; otherwise the server's newest version answers.
    """

    predictor: "RemotePredictor"
    version: int
    is_pinned: bool

    @property
    def expectation(self) -> Expectation:
        """Preprocessing that the model expects."""
        return self.predictor.expectation

    @property
    def description(self) -> ModelDescription:
        """Model description: the species of the newest version, and the thresholds of the latest models."""
        return self.predictor.description

    async def predict(self, inputs: SignatureInput, signature_name: str) -> tuple[Outputs, int]:
        """Return the outputs and the number of the version that answered; raises RequestError."""
        request = {"signature_name": signature_name, "instances": _instances_of(inputs)}
        path = self.predictor.path(self.version if self.is_pinned else None) + ":predict"
        answer = await self.predictor.request("POST", path, orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY))
        outputs = _outputs_of(answer, len(inputs))
        await self.predictor.look_up_thresholds(outputs.model_id, self.version if self.is_pinned else None)
        return outputs, self.predictor.models.version_of(outputs.model_id, self.version)


class RemotePredictor:
    """One model of a TensorFlow Serving over its REST API.

    Args:
        model: Name of the model.
        url: Address of TensorFlow Serving, without a path.
        expectation: Preprocessing that the model expects; TensorFlow Serving does not report it.
        timeout_s: Timeout of a request in seconds.
        version: Number of the version that is asked. None uses TensorFlow Serving's number, which is always the same
            under KServe.
        models: Models that may answer; None stands for those that were asked.
    """

    def __init__(
        self,
        model: str,
        url: str,
        expectation: Expectation,
        timeout_s: float,
        version: int | None = None,
        models: AnsweringModels | None = None,
    ) -> None:
        self.model, self.url, self.expectation, self.version = model, url, expectation, version
        self.models = models or AnsweringModels(model, {}, report)
        self._connections = ConnectionPool(url, timeout_s)
        self.description = ModelDescription()
        self._newest = 0
        self._newest_at = self._looked_up_at = -STATUS_LIFETIME_S

    def names(self) -> list[str]:
        """Return the name of the one model."""
        return [self.model]

    def unserved(self) -> dict[str, str]:
        """Return an empty mapping: `unready_reason` reports the state of the one model."""
        return {}

    def path(self, version: int | None) -> str:
        """Return the path of the model or of one of its versions."""
        return f"/v1/models/{self.model}" + (f"/versions/{version}" if version is not None else "")

    async def get_version(self, model: str, version: int | None) -> RemoteVersion:
        """Return a version, the newest one for None; a numbered version is not checked before it is requested.

        Raises:
            RequestError: 404 for another model, 502, 503 or 504 if TensorFlow Serving does not answer.
        """
        self._check_name(model)
        if version is not None:
            return RemoteVersion(self, version, is_pinned=True)
        if time.monotonic() - self._newest_at >= STATUS_LIFETIME_S:
            self._newest = _newest_available(await self.status(model, None))
            newest = describe_model(await self.metadata(model, None))
            self._add_thresholds(newest)
            self.description = replace(self.description, classes=newest.classes)
            self._newest_at = time.monotonic()
        return RemoteVersion(self, self.version or self._newest, is_pinned=False)

    async def look_up_thresholds(self, model_id: str, version: int | None) -> None:
        """Ask for the specimens' thresholds of a model that has answered, unless they are known.

        At most one request in STATUS_LIFETIME_S; without an answer, specimens are flagged by most of their slices.

        Args:
            model_id: Id of the model in the answer, "" if it has none.
            version: Version that was requested, None for the newest one.
        """
        is_recent = time.monotonic() - self._looked_up_at < STATUS_LIFETIME_S
        if not model_id or model_id in self.description.thresholds or is_recent:
            return
        self._looked_up_at = time.monotonic()
        with suppress(RequestError):
            path = self.path(version) + "/metadata"
            self._add_thresholds(describe_model(await self.request("GET", path, timeout_s=_READY_TIMEOUT_S)))

    def _add_thresholds(self, description: ModelDescription) -> None:
        latest = [*self.description.thresholds.items(), *description.thresholds.items()][-_MOST_MODELS:]
        self.description = replace(self.description, thresholds=dict(latest))

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Forward a status request; raises RequestError."""
        self._check_name(model)
        return await self.request("GET", self.path(version))

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Forward a metadata request; raises RequestError."""
        self._check_name(model)
        return await self.request("GET", self.path(version) + "/metadata")

    async def unready_reason(self) -> str | None:
        """Return why no request can be answered, None if a version is available."""
        try:
            _newest_available(await self.request("GET", self.path(None), timeout_s=_READY_TIMEOUT_S))
        except RequestError as error:
            return str(error)
        return None

    async def request(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Send a request to TensorFlow Serving.

        Raises:
            RequestError: TensorFlow Serving's own status and message; 502 for a malformed answer, 503 without a
                connection, 504 after the timeout.
        """
        try:
            answer = await self._connections.request(method, path, body, timeout_s)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise RequestError(504, f"the predictor at {self.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise RequestError(503, f"the predictor at {self.url} cannot be reached ({error})") from error
        document = _object_of(answer)
        if httpx.codes.is_success(answer.status):
            return document
        status = answer.status if httpx.codes.is_error(answer.status) else 502  # a redirect is not for the client
        raise RequestError(status, str(document.get("error", httpx.codes.get_reason_phrase(answer.status))))

    def _check_name(self, model: str) -> None:
        if model != self.model:
            raise RequestError(404, f"the model {model[:64]!r}", f"{self.model!r}")


@dataclass(frozen=True)
class CanaryVersion(RemoteVersion):
    """A version that sends its requests to a canary first.

    Attributes:
        canary: Predictor of the canary; `predictor` is the fallback.
    """

    canary: RemotePredictor

    @property
    def description(self) -> ModelDescription:
        """Model description: the species of the stable model, and the thresholds of both models."""
        stable, canary = self.predictor.description, self.canary.description
        return replace(stable, thresholds={**canary.thresholds, **stable.thresholds})

    async def predict(self, inputs: SignatureInput, signature_name: str) -> tuple[Outputs, int]:
        """Return the outputs and the number of the version that answered; raises the stable model's RequestError."""
        canary_version = RemoteVersion(self.canary, self.canary.version or self.version, self.is_pinned)
        try:
            return await canary_version.predict(inputs, signature_name)
        except RequestError:
            return await super().predict(inputs, signature_name)


class CanaryPredictor(RemotePredictor):
    """A predictor that sends a share of the requests without a version to a canary.

    Args:
        model: Name of both models.
        urls: Addresses of the predictor and of the canary.
        percent: Percentage of the requests that the canary answers.
        expectation: Preprocessing that both models expect.
        timeout_s: Timeout of a request in seconds; the canary gets half of it, at most MAX_CANARY_TIMEOUT_S, which
            leaves time for the fallback.
        versions: Version numbers of the two models.
        models: Models that may answer, as in RemotePredictor.
    """

    def __init__(
        self,
        model: str,
        urls: tuple[str, str],
        percent: int,
        expectation: Expectation,
        timeout_s: float,
        versions: tuple[int | None, int | None] = (None, None),
        models: AnsweringModels | None = None,
    ) -> None:
        super().__init__(model, urls[0], expectation, timeout_s, versions[0], models)
        canary_timeout_s = min(timeout_s / 2, MAX_CANARY_TIMEOUT_S)
        self._canary = RemotePredictor(model, urls[1], expectation, canary_timeout_s, versions[1], models)
        self._percent = percent

    async def get_version(self, model: str, version: int | None) -> RemoteVersion:
        """Return a version as RemotePredictor does; without a number, the canary's in its percentage of the calls."""
        stable = await super().get_version(model, version)
        if version is not None or random.random() * 100 >= self._percent:
            return stable
        return CanaryVersion(stable.predictor, stable.version, stable.is_pinned, self._canary)


def _instances_of(inputs: SignatureInput) -> Any:
    if isinstance(inputs, np.ndarray):
        return inputs
    return [{INPUT: {"b64": base64.b64encode(image).decode()}} for image in inputs]


def _object_of(answer: Answer) -> dict[str, Any]:
    try:
        document = _parse_json(answer.content)
    except (ValueError, RecursionError) as error:
        raise RequestError(502, f"the predictor answered {answer.status} without JSON") from error
    if not isinstance(document, dict):
        raise RequestError(502, f"the predictor answered {answer.status} without a JSON object")
    return document


def _parse_json(content: bytes) -> Any:
    """Parse JSON in which TensorFlow Serving writes numbers that are not finite as NaN, Infinity and -Infinity."""
    is_strict = b"NaN" not in content and b"Infinity" not in content
    return orjson.loads(content) if is_strict else json.loads(content)


def _newest_available(status: dict[str, Any]) -> int:
    try:
        states = status["model_version_status"]
        versions = [int(state["version"]) for state in states if state["state"] == "AVAILABLE"]
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(502, "the predictor's status cannot be read") from error
    if not versions:
        raise RequestError(503, "the predictor has no version loaded", "", "Retry in a few seconds.")
    return max(versions)


def _outputs_of(answer: dict[str, Any], slices: int) -> Outputs:
    try:
        rows = answer["predictions"]
        if len(rows) != slices:
            raise ValueError(f"{len(rows)} predictions for {slices} slices")
        optional = [name for name in OPTIONAL_OUTPUTS if any(name in row for row in rows)]
        return Outputs.from_values({name: [row[name] for row in rows] for name in (*REQUIRED_OUTPUTS, *optional)})
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(502, f"the predictor's answer violates the contract ({error!r})") from error
