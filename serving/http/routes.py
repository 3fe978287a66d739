"""The HTTP routes: TensorFlow Serving's paths, health, metrics, and a JSON error for any other path."""

import asyncio
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import metrics_handler
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from components.shared.errors import TaxonflowError
from serving.http.bodies import BodyReader
from serving.http.report_paths import LIVE_PATHS, METRICS_PATH, READY_PATHS
from serving.http.responses import error_response, json_response
from serving.limits import Limits
from serving.metrics import IN_FLIGHT, LATENCY, REQUESTS
from serving.predictors.base import Predictor
from serving.protocol import PredictRequest, RequestError, parse_predict

Handler = Callable[[Request], Awaitable[Any]]
_PREDICT_PATH = "/v1/models/<model>:predict"


class NameConvertor(StringConvertor):
    """A name in a path, without the colon that separates a path from its verb, as in TensorFlow Serving's patterns."""

    regex = "[^/:]+"


register_url_convertor("name", NameConvertor())


class MethodRoute(Route):
    """A route that answers 405 to a request of another method, with the methods that the path has."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match the path alone."""
        match, child_scope = super().matches(scope)
        return (Match.FULL if match is Match.PARTIAL else match), child_scope

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        methods = sorted(self.methods or ())
        if not methods or scope["method"] in methods:
            await super().handle(scope, receive, send)
            return
        remedy = (
            "Use POST with a JSON body." if "POST" in methods else f"Predictions are answered to POST {_PREDICT_PATH}."
        )
        response = error_response(RequestError(405, _describe(scope), " or ".join(methods), remedy))
        response.headers["Allow"] = ", ".join(methods)
        await response(scope, receive, send)


class RequestHandlers:
    """Handlers of all paths.

    Args:
        dataplane: Data plane of the kserve ModelServer, with the transformers.
        predictor: Predictor for status and metadata requests.
        limits: Limits of a request.
    """

    def __init__(self, dataplane: DataPlane, predictor: Predictor, limits: Limits) -> None:
        self.dataplane, self.predictor, self.limits = dataplane, predictor, limits
        self.bodies = BodyReader(limits)
        self._in_flight = 0
        IN_FLIGHT.set_function(lambda: self._in_flight)

    def routes(self) -> list[BaseRoute]:
        """Return the routes; the last one matches any other path, so that kserve's own routes cannot be reached."""
        model = "/v1/models/{model:name}"
        paths: list[BaseRoute] = [MethodRoute(METRICS_PATH, metrics_handler), MethodRoute("/v1/models", self.models)]
        paths += [MethodRoute(path, self.live) for path in LIVE_PATHS]
        paths += [MethodRoute(path, self.ready) for path in READY_PATHS]
        for path in (model, model + "/versions/{version:name}", model + "/labels/{label:name}"):
            paths.append(MethodRoute(path + ":predict", self.predict, methods=["POST"]))
            paths.append(MethodRoute(path + "/metadata", partial(self._guarded, self.metadata)))
            paths.append(MethodRoute(path, partial(self._guarded, self.status)))
        return [*paths, NotFoundRoute()]

    async def live(self, _request: Request) -> Response:
        """Report that the process is alive."""
        return json_response(await self.dataplane.live())

    async def ready(self, _request: Request) -> Response:
        """Report whether predict requests can be answered."""
        reason = await self.predictor.unready_reason()
        if reason:
            return json_response({"ready": False, "error": reason}, 503)
        return json_response({"ready": True, **self._model_states()})

    async def models(self, _request: Request) -> Response:
        """Return the names of the models, and why a model is not served."""
        return json_response(self._model_states())

    def _model_states(self) -> dict[str, Any]:
        unserved = self.predictor.unserved()
        return {"models": self.predictor.names(), **({"unserved": unserved} if unserved else {})}

    async def status(self, request: Request) -> Any:
        """Return the state of a model's versions; raises RequestError."""
        return await self.predictor.status(request.path_params["model"], _version_of(request))

    async def metadata(self, request: Request) -> Any:
        """Return a model's signatures; raises RequestError."""
        return await self.predictor.metadata(request.path_params["model"], _version_of(request))

    async def predict(self, request: Request) -> Response:
        """Answer a predict request, and record its count and duration."""
        start = time.perf_counter()
        response = await self._guarded(self._predict, request)
        name = request.path_params["model"]
        label = name if name in self.predictor.names() else "unknown model"  # no valid name has a space
        REQUESTS.labels(label, str(response.status_code)).inc()
        LATENCY.labels(label).observe(time.perf_counter() - start)
        return response

    async def _predict(self, request: Request) -> Any:
        name, version = request.path_params["model"], _version_of(request)
        if name not in self.predictor.names():  # kserve keeps metrics of every name that it receives
            await self.predictor.get_version(name, version)
        async with self.bodies.read(request) as body:
            predict_request = parse_predict(body, self.limits, version)
            if self._in_flight >= self.limits.max_in_flight:
                raise RequestError(503, f"{self._in_flight} requests in progress", "", "Retry in a second.")
            self._in_flight += 1
            try:
                return await self._answer(name, predict_request)
            finally:
                self._in_flight -= 1

    async def _answer(self, model: str, request: PredictRequest) -> Any:
        try:
            async with asyncio.timeout(self.limits.answer_timeout_s):
                answer, _ = await self.dataplane.infer(model, request)
        except TimeoutError as error:
            seconds = self.limits.answer_timeout_s
            raise RequestError(504, f"no answer within {seconds:g} s", "", "Send fewer or smaller slices.") from error
        return answer

    async def _guarded(self, handler: Handler, request: Request) -> Response:
        try:
            return json_response(await handler(request))
        except RequestError as error:
            return error_response(error)
        except TaxonflowError as error:
            return json_response({"error": str(error)}, 400)
        except ClientDisconnect:
            return json_response({"error": "the client disconnected"}, 400)
        except Exception:  # the server keeps running; the cause is logged, but not sent to the client
            sys.stderr.write(traceback.format_exc())
            return json_response({"error": "the server failed: see its log"}, 500)


class NotFoundRoute(BaseRoute):
    """A route that matches every path, even one with a line break, and answers 404."""

    def matches(self, _scope: Scope) -> tuple[Match, Scope]:
        """Match any request."""
        return Match.FULL, {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an HTTP request; ignore other kinds of connections."""
        if scope["type"] != "http":
            return
        error = RequestError(404, _describe(scope), f"POST {_PREDICT_PATH} or GET /v1/models/<model>")
        await error_response(error)(scope, receive, send)


def _describe(scope: Scope) -> str:
    return f"{scope['method'][:16]} {scope['path'][:128]}"


def _version_of(request: Request) -> int | None:
    label = request.path_params.get("label")
    if label is not None:  # the answer of a TensorFlow Serving without labels, as under KServe
        raise RequestError(400, f"Unrecognized servable version label: {label[:32]}", "/versions/<number>")
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise RequestError(404, f"the version {text[:32]!r}", "a number")
    return int(text)
