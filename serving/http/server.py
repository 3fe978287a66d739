"""The HTTP server: kserve's ModelServer with the project's own routes and socket, and a graceful stop.

kserve 0.21 always listens on every address, always reports that it is ready, and has routes that load, unload and
explain models. Therefore its REST server gets a bound socket, and `serving.http.routes` shadows kserve's routes.
"""

import socket
from collections.abc import Sequence
from concurrent.futures import Executor

import kserve
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.model_server import app
from kserve.protocol.rest.server import RESTServer

from serving.drift_events import EventRecorder
from serving.http.capacity import BACKLOG
from serving.http.connections import connection_class
from serving.http.cross_origin import allow_origins
from serving.http.routes import RequestHandlers
from serving.limits import Limits
from serving.predictors.base import Predictor
from serving.slice_model import SliceTransformer

GRACE_S = 30
KEEP_ALIVE_S = 65


class TransformerRegistry(kserve.ModelRepository):
    """kserve's registry of models: one transformer per model of the predictor, created at its first request.

    Args:
        predictor, workers, limits, recorder: Arguments of each SliceTransformer.
    """

    def __init__(
        self, predictor: Predictor, workers: Executor, limits: Limits, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__()
        self.predictor, self.workers, self.limits, self.recorder = predictor, workers, limits, recorder

    def get_model(self, name: str) -> SliceTransformer:
        """Return the transformer of a model; `serving.http.routes` rejects names that the predictor does not have."""
        if name not in self.models:
            self.models[name] = SliceTransformer(name, self.predictor, self.workers, self.limits, self.recorder)
        return self.models[name]


class HttpServer(kserve.ModelServer):
    """A ModelServer that listens on one bound socket.

    Args:
        listener: Socket from `serving.command.listen`.
        transformers: Registry of the models.
        origins: Origins whose browser pages may call the server.
    """

    def __init__(self, listener: socket.socket, transformers: TransformerRegistry, origins: Sequence[str] = ()) -> None:
        super().__init__(
            http_port=listener.getsockname()[1],
            workers=1,
            registered_models=transformers,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self.listener, self.limits, self.origins = listener, transformers.limits, origins
        self.handlers = RequestHandlers(self.dataplane, transformers.predictor, self.limits)

    def run(self) -> None:
        """Answer requests until SIGTERM or SIGINT; requests in flight are finished first.

        uvicorn then raises the signal again for the handler of `serving.command.run_command`.
        """
        app.router.routes[:0] = self.handlers.routes()
        allow_origins(app, self.origins)
        rest = RESTServer(
            FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self.grace_period,
            timeout_keep_alive=self.timeout_keep_alive,
        )
        rest.config.http = connection_class(self.limits)
        rest.config.ws = "none"
        rest.config.backlog = BACKLOG
        rest.run(sockets=[self.listener])
