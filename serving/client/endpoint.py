"""Asks an endpoint: batches, retries, and errors in one sentence."""

import base64
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import orjson
from pydantic import TypeAdapter, ValidationError

from components.shared.errors import BadInputError, DeployError

DEFAULT_URL = "http://127.0.0.1:8080"
MAX_BATCH_SLICES, MAX_BATCH_BYTES = 32, 8 * 2**20
_COME_AGAIN = frozenset({429, 502, 503})
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_POLL_S = 0.25


@dataclass(frozen=True)
class Prediction:
    """What the endpoint says about a slice.

    Attributes:
        species: the answer.
        confidence: 0..1.
        scores: one for each species of the model, in the order of its card.
        unknown: whether the model takes it for a species it never saw.
        embedding: the slice as the model sees it.
    """

    species: str
    confidence: float
    scores: tuple[float, ...]
    unknown: bool
    embedding: tuple[float, ...]


_PREDICTIONS = TypeAdapter(list[Prediction])


class Client:
    """Asks an endpoint that speaks TensorFlow Serving's REST API.

    Connection errors and answers that ask to come again are retried with growing pauses.

    Args:
        url: address of the server, without a path.
        timeout_s: of one request.
        patience_s: how long to try again.
    """

    def __init__(self, url: str = DEFAULT_URL, timeout_s: float = 60.0, patience_s: float = 5.0) -> None:
        self.url, self.patience_s = url.rstrip("/"), patience_s
        try:
            self._http = httpx.Client(base_url=self.url, timeout=timeout_s)
        except (httpx.InvalidURL, ValueError) as error:
            raise BadInputError(f"the address {url!r} ({error})", DEFAULT_URL) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def predict(self, model: str, images: Sequence[bytes], specimen: str | None = None) -> list[Prediction]:
        """Asks what slices show.

        Args:
            model: the model's name.
            images: encoded images, raw or segmented; they are sent in batches.
            specimen: whose slices they are.

        Returns:
            One prediction for each image.

        Raises:
            BadInputError: the server refuses the request.
            DeployError: the server cannot be reached or fails.
        """
        return [answer for batch in batches(images) for answer in self._predict_batch(model, batch, specimen)]

    def status(self, model: str) -> dict[str, Any]:
        """Returns the state of a model's versions; raises as `predict` does."""
        return self._ask("GET", _path_of(model))

    def models(self) -> list[str]:
        """Returns the names of the server's models; raises as `predict` does."""
        return [str(name) for name in self._ask("GET", "/v1/models").get("models", [])]

    def metadata(self, model: str) -> dict[str, Any]:
        """Returns what a model takes and answers; raises as `predict` does."""
        return self._ask("GET", f"{_path_of(model)}/metadata")

    def wait_until_ready(self, model: str, timeout_s: float, version: int | None = None) -> None:
        """Waits until a model answers.

        Args:
            model: the model's name.
            timeout_s: how long to wait at most.
            version: which version has to be available; None takes any.

        Raises:
            DeployError: it did not in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._is_available(model, version):
            if time.monotonic() > deadline:
                what = model if version is None else f"{model} version {version}"
                raise DeployError(
                    f"{what} at {self.url} was not ready within {timeout_s:g} s", "", "Look into the server's log."
                )
            time.sleep(_POLL_S)

    def _is_available(self, model: str, version: int | None) -> bool:
        try:
            states = self._ask_once("GET", _path_of(model)).json()["model_version_status"]
            available = [int(state["version"]) for state in states if state["state"] == "AVAILABLE"]
        except (httpx.TransportError, KeyError, TypeError, ValueError):
            return False
        return bool(available) if version is None else version in available

    def _predict_batch(self, model: str, images: Sequence[bytes], specimen: str | None) -> list[Prediction]:
        extra = {"specimen": specimen} if specimen else {}
        instances = [{"image_bytes": {"b64": base64.b64encode(image).decode()}, **extra} for image in images]
        answer = self._ask("POST", f"{_path_of(model)}:predict", orjson.dumps({"instances": instances}))
        try:
            predictions = _PREDICTIONS.validate_python(answer.get("predictions"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, ("predictions", *first["loc"])))
            raise DeployError(f"{self.url} answers as no served model does ({where}: {first['msg']})") from error
        if len(predictions) != len(images):
            raise DeployError(f"{self.url} gave {len(predictions)} answers for {len(images)} slices")
        return predictions

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        answer: Any
        try:
            response = self._ask_patiently(method, path, body)
            answer = orjson.loads(response.content)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise DeployError(f"{self.url} cannot be reached ({reason})", "", "Start it with `make serve`.") from error
        except orjson.JSONDecodeError:
            answer = {"error": f"HTTP {response.status_code} without JSON"}
        if response.is_success and isinstance(answer, dict) and "error" not in answer:
            return answer
        reason = str(answer.get("error", answer)) if isinstance(answer, dict) else f"HTTP {response.status_code}"
        if response.is_client_error:
            raise BadInputError(f"{self.url} refused: {reason}")
        raise DeployError(f"{self.url} failed: {reason}")

    def _ask_patiently(self, method: str, path: str, body: bytes | None) -> httpx.Response:
        for pause in pauses(self.patience_s):
            try:
                response = self._ask_once(method, path, body)
                if response.status_code not in _COME_AGAIN:
                    return response
            except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                pass
            time.sleep(pause)
        return self._ask_once(method, path, body)

    def _ask_once(self, method: str, path: str, body: bytes | None = None) -> httpx.Response:
        return self._http.request(method, path, content=body, headers={"Content-Type": "application/json"})


def _path_of(model: str) -> str:
    return f"/v1/models/{quote(model, safe='')}"


def pauses(patience_s: float) -> Iterator[float]:
    """Yields the seconds to wait after each failed try, doubled and bounded, `patience_s` in all."""
    pause, left = _FIRST_PAUSE_S, patience_s
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def batches(images: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Cuts images into runs that a server takes as one request."""
    start, size = 0, 0
    for number, image in enumerate(images):
        if number > start and (number - start == MAX_BATCH_SLICES or size + len(image) > MAX_BATCH_BYTES):
            yield images[start:number]
            start, size = number, 0
        size += len(image)
    if start < len(images):
        yield images[start:]
