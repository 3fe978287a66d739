"""The HTTP server: kserve's ModelServer with our routes, on a socket of our own, that stops gracefully.

kserve 0.21 always listens on every address, says it is ready whatever happens, and offers routes that load, unload and
explain models; so its REST server gets a bound socket, and its own routes are out of reach behind ours.
"""

import socket
from concurrent.futures import Executor

import kserve
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.model_server import app
from kserve.protocol.rest.server import RESTServer

from serving.drift_events import EventRecorder
from serving.http.connections import connections_within
from serving.http.routes import Routes
from serving.protocol import Limits
from serving.slice_model import Predictor, SliceTransformer

GRACE_S = 30
KEEP_ALIVE_S = 65


class Transformers(kserve.ModelRepository):
    """kserve's registry of models: a transformer for every model that the predictor knows, made when it is first asked.

    Args:
        predictor, workers, limits, recorder: as in SliceTransformer.
    """

    def __init__(
        self, predictor: Predictor, workers: Executor, limits: Limits, recorder: EventRecorder | None = None
    ) -> None:
        super().__init__()
        self.predictor, self.workers, self.limits, self.recorder = predictor, workers, limits, recorder

    def get_model(self, name: str) -> SliceTransformer:
        """Returns the transformer of a model that the predictor knows; `serving.http.routes` lets no other name in."""
        if name not in self.models:
            self.models[name] = SliceTransformer(name, self.predictor, self.workers, self.limits, self.recorder)
        return self.models[name]


class LocalServer(kserve.ModelServer):
    """A ModelServer that answers on one bound socket.

    Args:
        listener: from `listen`.
        transformers: the models.
    """

    def __init__(self, listener: socket.socket, transformers: Transformers) -> None:
        super().__init__(
            http_port=listener.getsockname()[1],
            workers=1,
            registered_models=transformers,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self.listener, self.limits = listener, transformers.limits
        self.routes = Routes(self.dataplane, transformers.predictor, self.limits)

    def run(self) -> None:
        """Answers requests until SIGTERM or SIGINT; requests in flight are finished first.

        uvicorn then raises the signal again for the handler of `end_in_one_sentence`.
        """
        app.router.routes[:0] = self.routes.all()
        rest = RESTServer(
            FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self.grace_period,
            timeout_keep_alive=self.timeout_keep_alive,
        )
        rest.config.http = connections_within(self.limits)
        rest.run(sockets=[self.listener])
