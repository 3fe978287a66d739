"""`python -m serving --repository DIR`: serve the newest version of every model of a repository over HTTP."""

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from components.shared.errors import BadConfigError
from components.shared.model_repository import Repository
from components.shared.signing import VERIFICATION_KEY, key_path
from components.shared.workers import cores
from serving.command import bounded_number, listen, report, run_command, suppressed_stderr
from serving.drift_events import add_event_options, start_recorder
from serving.http.capacity import add_connection_option, fit_descriptors
from serving.http.cross_origin import add_origin_option
from serving.limits import Limits

POLL_S = 1.0
WORKERS_PER_CORE = 2
"""One worker prepares slices while the other waits for TensorFlow's threads: 7 % more answers per second than one."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m serving", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True, metavar="DIR", help="folder of <model>/<version>/")
    parser.add_argument("--port", type=int, default=8080, help="port to listen on, 0 for any free one (%(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add_event_options(parser)
    add_origin_option(parser)
    add_connection_option(parser)
    seconds = partial(bounded_number, kind=float, least=0.01, most=3600)
    parser.add_argument(
        "--poll", type=seconds, default=POLL_S, metavar="S", help="seconds between scans of the folder (%(default)s)"
    )
    return parser.parse_args(arguments)


def announce(options: argparse.Namespace, host: str, port: int) -> None:
    """Print the server's address and the next commands."""
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    report(f"listening on {url}; {url}/readyz reports when it is ready")
    report(f"classify a slice: python -m serving.client SLICE.png --url {url}")
    if not Repository(options.repository).models():
        report(f"{options.repository} holds no model yet: waiting for one. `make run` publishes one.")


def serve(options: argparse.Namespace) -> None:
    """Serve the newest version of every model of the repository, including models that are published later.

    The repository may be empty at first: `make serve` may be started before the first `make run` has ended.

    Raises:
        BadConfigError: The repository is a file, the address is in use, the folder for events cannot be written, or the
            verification key is missing although its path is set.
        SystemExit: 0 after SIGTERM or SIGINT.
    """
    if options.repository.is_file():
        raise BadConfigError(f"--repository {options.repository} is a file", "a folder of <model>/<version>/")
    listener = listen(options.host, options.port)
    recorder = start_recorder(options, report)
    public_key = key_path(VERIFICATION_KEY)
    with ThreadPoolExecutor(WORKERS_PER_CORE * cores(), "worker") as workers:
        report(f"loading TensorFlow and the models of {options.repository}")
        with suppressed_stderr():  # TensorFlow and kserve take seconds to import: bind the address first
            from serving.http.server import HttpServer, TransformerRegistry
            from serving.predictors.local import LocalPredictor, RepositoryWatcher

        predictor = LocalPredictor(Repository(options.repository), workers, report, public_key)
        watcher = RepositoryWatcher(predictor.refresh, report, options.poll)
        limits = fit_descriptors(Limits(max_connections=options.max_connections))
        server = HttpServer(listener, TransformerRegistry(predictor, workers, limits, recorder), options.allow_origin)
        announce(options, *listener.getsockname()[:2])
        watcher.start()
        try:
            server.run()
        finally:
            watcher.stop()
            if recorder:
                recorder.close()
            report("stopped")


if __name__ == "__main__":
    sys.exit(run_command(serve, parse_arguments(sys.argv[1:])))
