"""`python -m serving.transformer --model_name N --predictor_host H`: the transformer in front of TensorFlow Serving.

KServe starts it beside the predictor and adds --model_name, --http_port, --predictor_host and --workers; it takes
kserve's own options and the ones below. What the model expects is in no answer of TensorFlow Serving, so it is told.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from kserve.model_server import parser as kserve_parser

from components.shared.errors import BadConfigError
from components.shared.workers import cores
from serving.command import end_in_one_sentence, listen, say
from serving.drift_events import add_options, started_recorder
from serving.http.server import LocalServer, Transformers
from serving.predictors.canary_split import DividingPredictor
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.preparation import Expectation
from serving.protocol import Limits

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - the kubelet and the gateway reach a pod by its address, which no one knows before


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m serving.transformer", parents=[kserve_parser], description=__doc__)
    parser.add_argument("--host", default=EVERY_ADDRESS, help="address to listen on")
    add_options(parser, os.environ.get("TAXONFLOW_EVENTS"))
    parser.add_argument(
        "--segmented", action=argparse.BooleanOptionalAction, default=True, help="segment raw slices, as training did"
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1, help="1 for grey, 3 for colour")
    parser.add_argument(
        "--image_size",
        type=int,
        default=0,
        help="edge in pixels that photographs are scaled to; 0 leaves them as they are, unlike in training",
    )
    parser.add_argument("--canary_host", default="", help="host:port of a canary beside the predictor")
    parser.add_argument("--canary_percent", type=int, default=0, help="percent of the requests that it answers")
    parser.add_argument("--canary_version", type=int, help="what drift events call the canary's model")
    told = os.environ.get("TAXONFLOW_MODEL_VERSION", "")  # from the pod's annotation, which the deploy step writes
    parser.add_argument(
        "--model_version",
        type=int,
        default=int(told) if told.isdecimal() else None,
        help="what drift events call the predictor's model",
    )
    return parser.parse_args(arguments)


def expectation_of(options: argparse.Namespace) -> Expectation:
    """Returns what the model wants to see."""
    return Expectation(options.channels, options.segmented, options.image_size)


def predictor_url(options: argparse.Namespace) -> str:
    """Returns the predictor's address.

    Raises:
        BadConfigError: there is none, or it speaks another protocol than v1.
    """
    if not options.predictor_host:
        raise BadConfigError("no --predictor_host", "host:port of TensorFlow Serving's REST API")
    if options.predictor_protocol != "v1":
        raise BadConfigError(
            f"--predictor_protocol {options.predictor_protocol}", "v1, which TensorFlow Serving speaks"
        )
    return f"{'https' if options.predictor_use_ssl else 'http'}://{options.predictor_host}"


def predictor_of(options: argparse.Namespace, timeout_s: float) -> RemotePredictor:
    """Returns what the transformer asks.

    Raises:
        BadConfigError: the addresses or the canary's share make no sense.
    """
    url = predictor_url(options)
    if not options.canary_host:
        return RemotePredictor(options.model_name, url, expectation_of(options), timeout_s, options.model_version)
    if not 0 <= options.canary_percent <= 100:
        raise BadConfigError(f"--canary_percent {options.canary_percent}", "0 to 100")
    urls = url, f"{urlsplit(url).scheme}://{options.canary_host}"
    versions = options.model_version, options.canary_version
    expectation = expectation_of(options)
    return DividingPredictor(options.model_name, urls, options.canary_percent, expectation, timeout_s, versions)


def transform(options: argparse.Namespace) -> None:
    """Answers until SIGTERM or SIGINT.

    Raises:
        BadConfigError: the options make no sense, the address is taken, or the events' folder cannot be made.
        SystemExit: 0 after a signal.
    """
    limits = Limits(answer_timeout_s=options.predictor_request_timeout_seconds)
    predictor = predictor_of(options, limits.answer_timeout_s)
    listener = listen(options.host, options.http_port)
    recorder = started_recorder(options, say)
    with ThreadPoolExecutor(cores(), "worker") as workers:
        server = LocalServer(listener, Transformers(predictor, workers, limits, recorder))
        host, port = listener.getsockname()[:2]
        say(f"listening on http://{host}:{port}; {options.model_name} is answered by {predictor.url}")
        try:
            server.run()
        finally:
            if recorder:
                recorder.close()
            say("stopped")


if __name__ == "__main__":
    sys.exit(end_in_one_sentence(transform, parse_arguments(sys.argv[1:])))
