"""The HTTP server: kserve's ModelServer with our routes, on a socket of our own, that stops gracefully.

kserve 0.21 always listens on every address, says it is ready whatever happens, and offers routes that load, unload and
explain models; so its REST server gets a bound socket, and its own routes are out of reach behind ours.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import kserve
from kserve.constants.constants import FASTAPI_APP_IMPORT_STRING
from kserve.model_server import app
from kserve.protocol.rest.server import RESTServer

from components.shared.errors import EXIT_BAD_INPUT, EXIT_FAILED, BadConfigError, BadInputError, TaxonflowError
from serving.events import EventRecorder
from serving.model import Predictor, SliceTransformer
from serving.protocol import Limits
from serving.routes import Routes

GRACE_S = 30
KEEP_ALIVE_S = 65


def say(sentence: str) -> None:
    """Writes a line for the person who started the server."""
    sys.stdout.write(f"[serve] {sentence}\n")
    sys.stdout.flush()


def quieten_libraries() -> None:
    """Leaves only errors of kserve, uvicorn and TensorFlow; called before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kserve.logging.logger.addHandler(logging.StreamHandler())
    for name, level in (("kserve", logging.ERROR), ("uvicorn", logging.ERROR), ("absl", logging.ERROR)):
        logging.getLogger(name).setLevel(level)


@contextmanager
def silent_stderr() -> Iterator[None]:
    """Swallows what is written to standard error, by C++ too, unless the block fails.

    TensorFlow's log level does not reach what absl says before its initialisation.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as swallowed:
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        except BaseException:
            swallowed.seek(0)
            os.write(kept, swallowed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def listen(host: str, port: int) -> socket.socket:
    """Binds the address before anything slow happens.

    Args:
        host: an address of this machine.
        port: 0 takes any free one.

    Raises:
        BadConfigError: the address is taken or not of this machine.
    """
    try:
        return socket.create_server(
            (host, port), backlog=512, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        raise BadConfigError(
            f"{host}:{port} cannot be listened to ({os.strerror(number) if number > 0 else error})",
            "a free port",
            "Stop what uses it, or choose another one with --port.",
        ) from error


def started_recorder(folder: Path | None) -> EventRecorder | None:
    """Starts the recorder of drift events if a folder is given; raises BadConfigError."""
    if folder is None:
        return None
    recorder = EventRecorder(folder, say)
    recorder.start()
    return recorder


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
        """Returns the transformer; for an unknown name one that is not kept and answers with the predictor's error."""
        known = self.models.get(name)
        if known is None:
            known = SliceTransformer(name, self.predictor, self.workers, self.limits, self.recorder)
            if name in self.predictor.names():
                self.models[name] = known
        return known


class LocalServer(kserve.ModelServer):
    """A ModelServer that answers on one bound socket.

    Args:
        listener: from `listen`.
        transformers: the models.
        limits: of a request.
    """

    def __init__(self, listener: socket.socket, transformers: Transformers, limits: Limits) -> None:
        super().__init__(
            http_port=listener.getsockname()[1],
            workers=1,
            registered_models=transformers,
            enable_grpc=False,
            enable_latency_logging=False,
            grace_period=GRACE_S,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        self.listener, self.limits = listener, limits
        self.routes = Routes(self.dataplane, transformers.predictor, limits)

    def run(self) -> None:
        """Answers requests until SIGTERM or SIGINT; requests in flight are finished first.

        Raises:
            SystemExit: 0 after such a signal.
        """
        app.router.routes[:0] = self.routes.all()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _leave)
        rest = RESTServer(
            FASTAPI_APP_IMPORT_STRING,
            self.dataplane,
            self.model_repository_extension,
            self.http_port,
            grace_period=self.grace_period,
            timeout_keep_alive=self.timeout_keep_alive,
        )
        rest.run(sockets=[self.listener])


def _leave(_number: int, _frame: FrameType | None) -> Any:
    """Ends the process; while uvicorn runs it has its own handlers and comes here when all requests are answered."""
    raise SystemExit(0)


def end_in_one_sentence(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Runs a command and returns its exit code; what goes wrong on purpose ends in one sentence."""
    quieten_libraries()
    try:
        command(options)
    except TaxonflowError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT if isinstance(error, BadInputError) else EXIT_FAILED
    return 0
