"""`python -m serving --repository DIR`: serves the newest version of every model of a folder over HTTP."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from components.shared.errors import BadConfigError
from components.shared.model_repository import Repository
from components.shared.signing import VERIFICATION_KEY, key_path
from components.shared.workers import cores
from serving.command import end_in_one_sentence, listen, number, say, silent_stderr
from serving.drift_events import add_options, started_recorder
from serving.predictors.watcher import POLL_S, RepositoryWatcher
from serving.protocol import Limits

WORKERS_PER_CORE = 2
"""One waits while its graph runs on threads of TensorFlow's own, the other prepares: 7 % more answers a second."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m serving", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True, metavar="DIR", help="holds <model>/<version>/")
    parser.add_argument("--port", type=int, default=8080, help="to listen on, 0 for any free one (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add_options(parser)
    seconds = partial(number, kind=float, least=0.01, most=3600)
    parser.add_argument(
        "--poll", type=seconds, default=POLL_S, metavar="S", help="seconds between looks at the folder (%(default)s)"
    )
    return parser.parse_args(arguments)


def announce(options: argparse.Namespace, host: str, port: int) -> None:
    """Says where the server listens and what to do next."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say(f"listening on {url}; ready when {url}/readyz says so")
    say(f"ask it: python -m serving.client SLICE.png --url {url}")
    if not Repository(options.repository).models():
        say(f"{options.repository} holds no model yet: waiting for one. `make run` publishes one.")


def serve(options: argparse.Namespace) -> None:
    """Serves the newest version of every model of the repository, and those that come.

    A repository without a model is waited for: `make serve` may be started before the first `make run` has ended.

    Raises:
        BadConfigError: the repository is a file, the address is taken, the events' folder cannot be written, or there
            is no key where one is said to be.
        SystemExit: 0 after SIGTERM or SIGINT.
    """
    if options.repository.is_file():
        raise BadConfigError(f"--repository {options.repository} is a file", "a folder of <model>/<version>/")
    listener = listen(options.host, options.port)
    recorder = started_recorder(options, say)
    public_key = key_path(VERIFICATION_KEY)
    with ThreadPoolExecutor(WORKERS_PER_CORE * cores(), "worker") as workers:
        say(f"loading TensorFlow and the models of {options.repository}")
        with silent_stderr():  # TensorFlow and kserve take seconds: first the address, then these
            from serving.http.server import LocalServer, Transformers
            from serving.predictors.local import LocalPredictor

        predictor = LocalPredictor(Repository(options.repository), workers, say, public_key)
        watcher = RepositoryWatcher(predictor.refresh, say, options.poll)
        server = LocalServer(listener, Transformers(predictor, workers, Limits(), recorder))
        announce(options, *listener.getsockname()[:2])
        watcher.start()
        try:
            server.run()
        finally:
            watcher.stop()
            if recorder:
                recorder.close()
            say("stopped")


if __name__ == "__main__":
    sys.exit(end_in_one_sentence(serve, parse_arguments(sys.argv[1:])))
