"""TensorFlow Serving over HTTP as the predictor of a transformer that runs as a process of its own."""

import base64
import time
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import orjson

from serving.preparation import Expectation
from serving.protocol import INPUT, OUTPUTS, Input, Outputs, RequestError
from serving.votes import classes_of

STATUS_LIFETIME_S = 2.0
_READY_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class RemoteVersion:
    """A version that TensorFlow Serving has in memory.

    Attributes:
        predictor: asks it.
        version: its number, as drift events name it.
        pinned: whether the client asked for this very version; otherwise the server's newest answers.
    """

    predictor: "RemotePredictor"
    version: int
    pinned: bool

    @property
    def expectation(self) -> Expectation:
        """What the model wants to see."""
        return self.predictor.expectation

    @property
    def classes(self) -> tuple[str, ...]:
        """Species in the order of the newest version's scores, or () where it does not name them."""
        return self.predictor.classes

    async def predict(self, given: Input, signature_name: str) -> tuple[Outputs, int]:
        """Answers, and says with which version; raises RequestError."""
        request = {"signature_name": signature_name, "instances": _instances_of(given)}
        path = self.predictor.path(self.version if self.pinned else None) + ":predict"
        answer = await self.predictor.request("POST", path, orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY))
        return _outputs_of(answer, len(given)), self.version


class RemotePredictor:
    """One model of a TensorFlow Serving over its REST API.

    Args:
        model: the model's name.
        url: address of TensorFlow Serving, without a path.
        expectation: what the model wants to see; TensorFlow Serving does not tell.
        timeout_s: of a request.
        version: what drift events call the newest; None calls it as TensorFlow Serving does, which KServe always gives
            a folder of the same number.
    """

    def __init__(
        self, model: str, url: str, expectation: Expectation, timeout_s: float, version: int | None = None
    ) -> None:
        self.model, self.url, self.expectation, self.version = model, url, expectation, version
        self._client = httpx.AsyncClient(base_url=url, timeout=timeout_s, headers={"Content-Type": "application/json"})
        self.classes: tuple[str, ...] = ()
        self._newest = 0
        self._newest_at = -STATUS_LIFETIME_S

    def names(self) -> list[str]:
        """The one model."""
        return [self.model]

    def path(self, version: int | None) -> str:
        """Path of the model or of one of its versions."""
        return f"/v1/models/{self.model}" + (f"/versions/{version}" if version is not None else "")

    async def version_of(self, model: str, version: int | None) -> RemoteVersion:
        """Returns a version, or the newest for None; whether a numbered one exists shows when it is asked.

        Raises:
            RequestError: 404 for another model, 502, 503 or 504 when TensorFlow Serving does not answer.
        """
        self._check_name(model)
        if version is not None:
            return RemoteVersion(self, version, pinned=True)
        if time.monotonic() - self._newest_at >= STATUS_LIFETIME_S:
            self._newest = _newest_available(await self.status(model, None))
            self.classes = classes_of(await self.metadata(model, None))
            self._newest_at = time.monotonic()
        return RemoteVersion(self, self.version or self._newest, pinned=False)

    async def status(self, model: str, version: int | None) -> dict[str, Any]:
        """Passes a status request on; raises RequestError."""
        self._check_name(model)
        return await self.request("GET", self.path(version))

    async def metadata(self, model: str, version: int | None) -> dict[str, Any]:
        """Passes a metadata request on; raises RequestError."""
        self._check_name(model)
        return await self.request("GET", self.path(version) + "/metadata")

    async def not_ready_because(self) -> str | None:
        """Says why no request can be answered, or None."""
        try:
            _newest_available(await self.request("GET", self.path(None), timeout_s=_READY_TIMEOUT_S))
        except RequestError as error:
            return str(error)
        return None

    async def request(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float | None = None
    ) -> dict[str, Any]:
        """Asks TensorFlow Serving.

        Raises:
            RequestError: its own status and message; 502 for an answer that makes no sense, 503 without a connection,
                504 without an answer in time.
        """
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else httpx.Timeout(timeout_s)
        try:
            response = await self._client.request(method, path, content=body, timeout=timeout)
        except httpx.TimeoutException as error:
            raise RequestError(504, f"the predictor at {self.url} did not answer in time") from error
        except httpx.TransportError as error:
            raise RequestError(503, f"the predictor at {self.url} cannot be reached ({error})") from error
        answer = _object_of(response)
        if response.is_success:
            return answer
        status = response.status_code if response.is_error else 502  # where a redirection leads is not for the client
        raise RequestError(status, str(answer.get("error", response.reason_phrase)))

    def _check_name(self, model: str) -> None:
        if model != self.model:
            raise RequestError(404, f"the model {model[:64]!r}", f"{self.model!r}")


def _instances_of(given: Input) -> Any:
    if isinstance(given, np.ndarray):
        return given
    return [{INPUT: {"b64": base64.b64encode(image).decode()}} for image in given]


def _object_of(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise RequestError(502, f"the predictor answered {response.status_code} without JSON") from error
    if not isinstance(answer, dict):
        raise RequestError(502, f"the predictor answered {response.status_code} without a JSON object")
    return answer


def _newest_available(status: dict[str, Any]) -> int:
    try:
        states = status["model_version_status"]
        versions = [int(state["version"]) for state in states if state["state"] == "AVAILABLE"]
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(502, "the predictor's status cannot be read") from error
    if not versions:
        raise RequestError(503, "the predictor has no version loaded", "", "Ask again in a few seconds.")
    return max(versions)


def _outputs_of(answer: dict[str, Any], slices: int) -> Outputs:
    try:
        rows = answer["predictions"]
        if len(rows) != slices:
            raise ValueError(f"{len(rows)} predictions for {slices} slices")
        return Outputs.of({name: [row[name] for row in rows] for name in OUTPUTS})
    except (KeyError, TypeError, ValueError) as error:
        raise RequestError(502, f"the predictor's answer is not of the contract ({error!r})") from error
