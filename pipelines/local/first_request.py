"""The first request to a deployed model: a raw slice over HTTP, compared with the evaluation's scores.

It runs in a separate process, `python -m pipelines.local.first_request`, so that the process with the progress bars
does not load the data and the client.
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from components.shared.contracts import Example
from components.shared.errors import EXIT_FAILED, DeployError, exit_on_error
from components.shared.model_repository import read_card, version_folder
from components.shared.slices import held_out_split, iterate_split, read_info
from components.shared.subprocesses import HOST, background_process, free_port
from pipelines.local.process import check_running
from serving.client import Client, SlicePrediction

STEP = "serve"
READY_TIMEOUT_S = 120.0
TOLERANCE = 1e-5


def main() -> None:
    """Send the request that the command line names and print the answer as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.first_request", description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="model repository")
    parser.add_argument("--events", type=Path, required=True, help="folder of the drift events")
    parser.add_argument("--raw", type=Path, required=True, help="data set of raw slices")
    parser.add_argument("--log", type=Path, required=True, help="log file of the server")
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", type=int, required=True, help="version of the model")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))  # so that the server is stopped as well
    with exit_on_error(STEP):
        sys.stdout.write(json.dumps(send_first_request(**vars(parser.parse_args()))) + "\n")


def send_first_request(models: Path, events: Path, name: str, version: int, raw: Path, log: Path) -> dict[str, Any]:
    """Serve the repository, send a raw slice whose scores are known, and compare the answer.

    Args:
        models: Local model repository.
        events: Folder for the drift event of the request.
        name: Name of the model.
        version: Version that was just deployed.
        raw: Data set of raw slices that contains the slices of the model card's examples.
        log: Log file of the server.

    Returns:
        id, truth, species, confidence, and `difference`, the largest absolute difference of a score.

    Raises:
        DeployError: The server does not answer, or its scores differ from the evaluation's.
    """
    card = read_card(version_folder(models, name, version))
    examples = {example.id: example for example in card.examples}
    known_slices = iterate_split(raw, held_out_split(read_info(raw)))
    identifier, png = next((id_, png) for id_, _, png in known_slices if id_ in examples)
    with _server(models, events, log) as (url, process), Client(url, timeout_s=30) as client:
        client.wait_until_ready(name, READY_TIMEOUT_S, version, partial(check_running, {log: process}))
        (prediction,) = client.predict(name, [png], specimen=f"first-request-{identifier}")
    return _compare(prediction, examples[identifier], log)


def _compare(prediction: SlicePrediction, example: Example, log: Path) -> dict[str, Any]:
    """Return the fields of `send_first_request`; raise DeployError if the scores differ from the evaluation's."""
    difference = example.difference(prediction.scores)
    if difference > TOLERANCE:
        raise DeployError(
            f"the served scores of slice {example.id} differ by {difference:.2g} from the evaluation's",
            f"a difference of at most {TOLERANCE:g}",
            f"See {log}.",
        )
    return {
        "id": example.id,
        "truth": example.species,
        "species": prediction.species,
        "confidence": prediction.confidence,
        "difference": difference,
    }


@contextmanager
def _server(models: Path, events: Path, log: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run the local server on a free port until the block ends; yield its URL and its process."""
    port = free_port()
    options = {"--repository": models, "--events": events, "--port": port}
    command = [sys.executable, "-m", "serving", *(str(argument) for option in options.items() for argument in option)]
    with background_process(command, log) as process:
        yield f"http://{HOST}:{port}", process


if __name__ == "__main__":
    main()
