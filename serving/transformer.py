"""`python -m serving.transformer --model_name N --predictor_host H`: the transformer in front of TensorFlow Serving.

KServe starts it beside the predictor and adds --model_name, --http_port, --predictor_host and --workers. It accepts
kserve's own options and the ones below. TensorFlow Serving does not report the preprocessing that a model expects, so
options set it.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from kserve.model_server import parser as kserve_parser

from components.shared.errors import BadConfigError
from components.shared.workers import cores
from serving.command import listen, report, run_command
from serving.drift_events import add_event_options, start_recorder
from serving.http.capacity import add_connection_option, fit_descriptors
from serving.http.cross_origin import add_origin_option
from serving.http.server import HttpServer, TransformerRegistry
from serving.limits import Limits
from serving.predictors.answering_models import AnsweringModels, parse_versions
from serving.predictors.base import Expectation
from serving.predictors.tensorflow_serving import CanaryPredictor, RemotePredictor

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - kubelet and gateway connect to a pod's address, which is assigned at its start


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser("python -m serving.transformer", parents=[kserve_parser], description=__doc__)
    parser.add_argument("--host", default=EVERY_ADDRESS, help="address to listen on")
    add_event_options(parser, os.environ.get("TAXONFLOW_EVENTS"))
    add_origin_option(parser)
    add_connection_option(parser)
    parser.add_argument(
        "--segmented", action=argparse.BooleanOptionalAction, default=True, help="segment raw slices, as for training"
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1, help="1 for grey, 3 for colour")
    parser.add_argument(
        "--image_size",
        type=int,
        default=0,
        help="edge in pixels to which photographs are scaled; 0 keeps their size, unlike the training",
    )
    parser.add_argument("--canary_host", default="", help="host:port of a canary beside the predictor")
    parser.add_argument("--canary_percent", type=int, default=0, help="percentage of the requests for the canary")
    parser.add_argument("--canary_version", type=int, help="version of the canary's model")
    annotation = os.environ.get("TAXONFLOW_MODEL_VERSION", "")  # set from the pod's annotation of the deploy step
    parser.add_argument(
        "--model_version",
        type=int,
        default=int(annotation) if annotation.isdecimal() else None,
        help="version of the predictor's model",
    )
    parser.add_argument(
        "--model_versions",
        default=os.environ.get("TAXONFLOW_MODEL_VERSIONS", ""),  # set from another annotation of the same pod
        metavar="JSON",
        help="version by model id of all models that may answer; an answer then names its version itself",
    )
    parser.set_defaults(predictor_request_timeout_seconds=int(Limits().answer_timeout_s))  # kserve's is 600 s
    return parser.parse_args(arguments)


def expectation_of(options: argparse.Namespace) -> Expectation:
    """Return the preprocessing that the model expects."""
    return Expectation(options.channels, options.segmented, options.image_size)


def predictor_url(options: argparse.Namespace) -> str:
    """Return the predictor's address.

    Raises:
        BadConfigError: The address is missing, or the protocol is not v1.
    """
    if not options.predictor_host:
        raise BadConfigError(
            "no --predictor_host", "host:port of TensorFlow Serving's REST API", "Set --predictor_host HOST:PORT."
        )
    if options.predictor_protocol != "v1":
        raise BadConfigError(
            f"--predictor_protocol {options.predictor_protocol}",
            "v1, the protocol of TensorFlow Serving",
            "Set --predictor_protocol v1.",
        )
    return f"{'https' if options.predictor_use_ssl else 'http'}://{options.predictor_host}"


def predictor_of(options: argparse.Namespace, timeout_s: float) -> RemotePredictor:
    """Return the predictor, which splits the traffic if there is a canary.

    Raises:
        BadConfigError: An address, the canary's percentage or the models' versions are invalid.
    """
    url, expectation = predictor_url(options), expectation_of(options)
    models = AnsweringModels(options.model_name, parse_versions(options.model_versions), report)
    if not options.canary_host:
        return RemotePredictor(options.model_name, url, expectation, timeout_s, options.model_version, models=models)
    if not 0 <= options.canary_percent <= 100:
        raise BadConfigError(f"--canary_percent {options.canary_percent}", "0 to 100")
    urls = url, f"{urlsplit(url).scheme}://{options.canary_host}"
    versions = options.model_version, options.canary_version
    percent = options.canary_percent
    return CanaryPredictor(options.model_name, urls, percent, expectation, timeout_s, versions, models)


def transform(options: argparse.Namespace) -> None:
    """Answer requests until SIGTERM or SIGINT.

    Raises:
        BadConfigError: An option is invalid, the address is in use, or the folder for events cannot be created.
        SystemExit: 0 after a signal.
    """
    limits = fit_descriptors(
        Limits(answer_timeout_s=options.predictor_request_timeout_seconds, max_connections=options.max_connections)
    )
    predictor = predictor_of(options, limits.answer_timeout_s)
    listener = listen(options.host, options.http_port)
    recorder = start_recorder(options, report)
    with ThreadPoolExecutor(cores(), "worker") as workers:
        server = HttpServer(listener, TransformerRegistry(predictor, workers, limits, recorder), options.allow_origin)
        host, port = listener.getsockname()[:2]
        report(f"listening on http://{host}:{port}; requests for {options.model_name} go to {predictor.url}")
        try:
            server.run()
        finally:
            if recorder:
                recorder.close()
            report("stopped")


if __name__ == "__main__":
    sys.exit(run_command(transform, parse_arguments(sys.argv[1:])))
