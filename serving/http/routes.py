"""The HTTP routes: TensorFlow Serving's paths, health, metrics, and a JSON error for everything else."""

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import metrics_handler
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from components.shared.errors import TaxonflowError
from serving.http.bodies import Bodies
from serving.metrics import IN_FLIGHT, LATENCY, REQUESTS
from serving.protocol import Limits, PredictRequest, RequestError, encode_answer, parse_predict
from serving.slice_model import Predictor

Handler = Callable[[Request], Awaitable[Any]]


def answer_with(content: Any, status: int = 200) -> Response:
    """Makes a JSON response."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(encode_answer(content), status, headers, "application/json")


class Routes:
    """Handlers of all paths.

    Args:
        dataplane: of the kserve ModelServer; it holds the transformers.
        predictor: answers status and metadata requests.
        limits: of a request.
    """

    def __init__(self, dataplane: DataPlane, predictor: Predictor, limits: Limits) -> None:
        self.dataplane, self.predictor, self.limits = dataplane, predictor, limits
        self.bodies = Bodies(limits)
        self._in_flight = 0
        IN_FLIGHT.set_function(lambda: self._in_flight)

    def all(self) -> list[BaseRoute]:
        """Returns the routes; the last one takes whatever no other takes, so kserve's own are out of reach."""
        model = "/v1/models/{model}"
        paths: list[BaseRoute] = [Route("/metrics", metrics_handler), Route("/v1/models", self.models)]
        paths += [Route(path, self.live) for path in ("/", "/healthz", "/v2/health/live")]
        paths += [Route(path, self.ready) for path in ("/readyz", "/v2/health/ready")]
        for versioned in (model, model + "/versions/{version}", model + "/labels/{label}"):
            paths.append(Route(versioned + ":predict", self.predict, methods=["POST"]))
            paths.append(Route(versioned + "/metadata", partial(self._guarded, self.metadata)))
            paths.append(Route(versioned, partial(self._guarded, self.status)))
        return [*paths, NoSuchPath()]

    async def live(self, _request: Request) -> Response:
        """Says that the process answers."""
        return answer_with(await self.dataplane.live())

    async def ready(self, _request: Request) -> Response:
        """Says whether a predict request would be answered."""
        reason = await self.predictor.not_ready_because()
        if reason:
            return answer_with({"ready": False, "error": reason}, 503)
        return answer_with({"ready": True, "models": self.predictor.names()})

    async def models(self, _request: Request) -> Response:
        """Names the models."""
        return answer_with({"models": self.predictor.names()})

    async def status(self, request: Request) -> Any:
        """Returns the state of a model's versions; raises RequestError."""
        return await self.predictor.status(request.path_params["model"], _version_of(request))

    async def metadata(self, request: Request) -> Any:
        """Returns a model's signatures; raises RequestError."""
        return await self.predictor.metadata(request.path_params["model"], _version_of(request))

    async def predict(self, request: Request) -> Response:
        """Answers a predict request, counts it and takes its time."""
        started = time.perf_counter()
        response = await self._guarded(self._predict, request)
        name = request.path_params["model"]
        label = name if name in self.predictor.names() else "none of them"
        REQUESTS.labels(label, str(response.status_code)).inc()
        LATENCY.labels(label).observe(time.perf_counter() - started)
        return response

    async def _predict(self, request: Request) -> Any:
        name, version = request.path_params["model"], _version_of(request)
        if name not in self.predictor.names():  # kserve keeps metrics for ever of each name that comes to it
            await self.predictor.version_of(name, version)
        async with self.bodies.read(request) as body:
            parsed = parse_predict(body, self.limits, version)
            if self._in_flight >= self.limits.max_in_flight:
                raise RequestError(503, f"{self._in_flight} requests at a time", "", "Ask again in a second.")
            self._in_flight += 1
            try:
                return await self._answer(name, parsed)
            finally:
                self._in_flight -= 1

    async def _answer(self, model: str, parsed: PredictRequest) -> Any:
        try:
            async with asyncio.timeout(self.limits.answer_timeout_s):
                answer, _ = await self.dataplane.infer(model, parsed)
        except TimeoutError as error:
            seconds = self.limits.answer_timeout_s
            raise RequestError(504, f"no answer within {seconds:g} s", "", "Send fewer or smaller slices.") from error
        return answer

    async def _guarded(self, handler: Handler, request: Request) -> Response:
        try:
            return answer_with(await handler(request))
        except RequestError as error:
            return answer_with({"error": str(error)}, error.status)
        except TaxonflowError as error:
            return answer_with({"error": str(error)}, 400)
        except ClientDisconnect:
            return answer_with({"error": "the client went away"}, 400)
        except Exception:  # the server goes on; the cause is for its log, not for the client
            sys.stderr.write(traceback.format_exc())
            return answer_with({"error": "the server failed; its log says why"}, 500)


class NoSuchPath(BaseRoute):
    """A route that every path fits, even one with a line's end in it, and that answers 404."""

    def matches(self, _scope: Scope) -> tuple[Match, Scope]:
        """Fits whatever no route before it did."""
        return Match.FULL, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers an HTTP request; connections of other kinds are left alone."""
        if scope["type"] != "http":
            return
        found = f"{scope['method'][:16]} {scope['path'][:128]}"
        error = RequestError(404, found, "POST /v1/models/<model>:predict or GET /v1/models/<model>")
        await answer_with({"error": str(error)}, error.status)(scope, receive, send)


def _version_of(request: Request) -> int | None:
    label = request.path_params.get("label")
    if label is not None:  # what TensorFlow Serving says where its configuration has none, as KServe's
        raise RequestError(400, f"Unrecognized servable version label: {label[:32]}", "/versions/<number>")
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise RequestError(404, f"the version {text[:32]!r}", "a number")
    return int(text)
