"""The client of an endpoint: batches, retries, and errors in one sentence."""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import orjson
from pydantic import TypeAdapter, ValidationError

from components.shared.errors import BadInputError, DeployError
from components.shared.proxies import uses_proxy
from serving.client.address import CERTIFICATE_ERROR, connection_remedy
from serving.client.certificates import trusted_context

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_BATCH_SLICES, MAX_BATCH_BYTES = 32, 8 * 2**20
_RETRY_STATUSES = frozenset({429, 502, 503})
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.1, 2.0
_POLL_S = 0.25
Image = TypeVar("Image", bytes, Path)
"""An image in memory, or its file."""


@dataclass(frozen=True)
class SlicePrediction:
    """The endpoint's prediction for a slice.

    Attributes:
        species: Predicted species.
        confidence: Score of that species, 0..1.
        scores: Score of each species of the model, in the order of its card.
        unknown: Whether the slice is probably of a species that the model was not trained on.
        embedding: Features of the slice in the model.
        unknown_score: Open-set score of the slice; None from a model of version 0.1.0, which does not report it.
        model: Id of the model that made the prediction; empty for a model without an id.
    """

    species: str
    confidence: float
    scores: tuple[float, ...]
    unknown: bool
    embedding: tuple[float, ...]
    unknown_score: float | None = None
    model: str = ""


_PREDICTIONS = TypeAdapter(list[SlicePrediction])


class Client:
    """A client of an endpoint with TensorFlow Serving's REST API.

    Connection errors and the statuses 429, 502 and 503 are retried with growing delays.

    Args:
        url: Address of the server, with the path in front of `/v1` if it has one.
        timeout_s: Timeout of one request in seconds.
        retry_timeout_s: Seconds after which a request is no longer retried.
        authority: File with the certificates of the server's authority in PEM; None for the usual authorities.
        host: Name in the header Host, for an ingress that is reached under another name; empty for that of the address.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        timeout_s: float = 60.0,
        retry_timeout_s: float = 5.0,
        authority: Path | None = None,
        host: str = "",
    ) -> None:
        self.url, self.retry_timeout_s = url.rstrip("/"), retry_timeout_s
        verify = trusted_context(authority) if authority else True
        headers, uses_environment = {"Host": host} if host else {}, uses_proxy(self.url)
        try:
            self._http = httpx.Client(
                base_url=self.url, timeout=timeout_s, trust_env=uses_environment, verify=verify, headers=headers
            )
        except ImportError as error:  # httpx reaches a SOCKS proxy with a library that is not installed
            remedy = "Set NO_PROXY to the server's host, or HTTP_PROXY to an HTTP proxy."
            raise BadInputError(f"the proxy of {self.url} ({error})", "an HTTP proxy", remedy) from error
        except (httpx.InvalidURL, ValueError) as error:
            raise BadInputError(f"the address {url!r} ({error})", DEFAULT_URL) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(self, model: str, images: Sequence[bytes], specimen: str | None = None) -> list[SlicePrediction]:
        """Predict the species of slices.

        Args:
            model: Name of the model.
            images: Encoded images, raw or segmented; they are sent in batches.
            specimen: Name of the specimen that all slices belong to.

        Returns:
            One prediction per image, in the same order.

        Raises:
            BadInputError: The server rejects the request.
            DeployError: The server cannot be reached or fails.
        """
        answers = (self._predict_batch(model, batch, specimen) for batch in batches(images, len))
        return [prediction for answer in answers for prediction in answer]

    def status(self, model: str) -> dict[str, Any]:
        """Return the state of a model's versions; raises as `predict` does."""
        return self._request("GET", _path_of(model))

    def models(self) -> list[str]:
        """Return the names of the models that the server serves; raises as `predict` does."""
        return [name for name, reason in self.model_states().items() if not reason]

    def model_states(self) -> dict[str, str]:
        """Return why a model is not served, empty for a served one, for every model; raises as `predict` does."""
        answer = self._request("GET", "/v1/models")
        unserved = answer.get("unserved")
        states = {str(name): str(reason) for name, reason in unserved.items()} if isinstance(unserved, dict) else {}
        return dict(sorted((states | {str(name): "" for name in answer.get("models", [])}).items()))

    def metadata(self, model: str) -> dict[str, Any]:
        """Return a model's signatures with their inputs and outputs; raises as `predict` does."""
        return self._request("GET", f"{_path_of(model)}/metadata")

    def wait_until_ready(
        self,
        model: str,
        timeout_s: float,
        version: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Wait until a model is available.

        Args:
            model: Name of the model.
            timeout_s: Most seconds to wait.
            version: Version that must be available; None accepts any.
            check: Function that is called before each request, and raises an error if waiting is useless.

        Raises:
            DeployError: The model is not available after the timeout.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            check()
            if self._is_available(model, version):
                return
            if time.monotonic() > deadline:
                name = model if version is None else f"{model} version {version}"
                raise DeployError(
                    f"{name} at {self.url} was not ready within {timeout_s:g} s", "", "Read the server's log."
                )
            time.sleep(_POLL_S)

    def _is_available(self, model: str, version: int | None) -> bool:
        try:
            states = self._request_once("GET", _path_of(model)).json()["model_version_status"]
            available = [int(state["version"]) for state in states if state["state"] == "AVAILABLE"]
        except (httpx.TransportError, KeyError, TypeError, ValueError):
            return False
        return bool(available) if version is None else version in available

    def _predict_batch(self, model: str, images: Sequence[bytes], specimen: str | None) -> list[SlicePrediction]:
        extra = {"specimen": specimen} if specimen else {}
        instances = [{"image_bytes": {"b64": base64.b64encode(image).decode()}, **extra} for image in images]
        answer = self._request("POST", f"{_path_of(model)}:predict", orjson.dumps({"instances": instances}))
        try:
            predictions = _PREDICTIONS.validate_python(answer.get("predictions"))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, ("predictions", *first["loc"])))
            raise DeployError(f"{self.url} returned an invalid answer ({field}: {first['msg']})") from error
        if len(predictions) != len(images):
            raise DeployError(f"{self.url} returned {len(predictions)} predictions for {len(images)} slices")
        return predictions

    def _request(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer: Any
        try:
            response = self._request_with_retries(method, path, body)
            answer = orjson.loads(response.content)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            remedy = connection_remedy(self.url, reason)
            raise DeployError(f"{self.url} cannot be reached ({reason})", "", remedy) from error
        except orjson.JSONDecodeError:
            answer = {"error": f"HTTP {response.status_code} without JSON"}
        if response.is_success and isinstance(answer, dict) and "error" not in answer:
            return answer
        reason = str(answer.get("error", answer)) if isinstance(answer, dict) else f"HTTP {response.status_code}"
        if response.is_client_error:
            raise BadInputError(f"{self.url} rejected the request: {reason}")
        raise DeployError(f"{self.url} failed: {reason}")

    def _request_with_retries(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        for delay in retry_delays(self.retry_timeout_s):
            try:
                response = self._request_once(method, path, body)
                if response.status_code not in _RETRY_STATUSES:
                    return response
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
                if CERTIFICATE_ERROR in str(error):
                    raise
            time.sleep(delay)
        return self._request_once(method, path, body)

    def _request_once(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        return self._http.request(method, path, content=body, headers={"Content-Type": "application/json"})


def _path_of(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"


def retry_delays(timeout_s: float) -> Iterator[float]:
    """Yield the seconds to wait after each failure: doubled up to a maximum, `timeout_s` in total."""
    delay, seconds_left = _FIRST_DELAY_S, timeout_s
    while seconds_left > 0:
        yield min(delay, seconds_left)
        seconds_left -= delay
        delay = min(2 * delay, _LONGEST_DELAY_S)


def batches(images: Sequence[Image], size_of: Callable[[Image], int]) -> Iterator[Sequence[Image]]:
    """Yield batches of images that fit into one request.

    Args:
        images: Images in memory, or their files.
        size_of: Function that returns the bytes of an image.
    """
    start, size = 0, 0
    for number, image in enumerate(images):
        image_size = size_of(image)
        if number > start and (number - start == MAX_BATCH_SLICES or size + image_size > MAX_BATCH_BYTES):
            yield images[start:number]
            start, size = number, 0
        size += image_size
    if start < len(images):
        yield images[start:]
