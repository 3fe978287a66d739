"""The first request to a freshly deployed model: a raw slice over HTTP, held against the evaluation's answer.

A process of its own, `python -m pipelines.local.first_request`, so that the one that draws the screen stays small.
"""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.shared.contracts import Example
from components.shared.errors import EXIT_FAILED, DeployError, exit_on_error
from components.shared.model_repository import read_card, version_folder
from components.shared.slices import iterate_split
from components.shared.subprocesses import HOST, background_process, free_port
from serving.client import Client, SlicePrediction

STEP = "serve"
READY_WITHIN_S = 120.0
TOLERANCE = 1e-5


def main() -> None:
    """Asks the question that the command line names and prints the answer as one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.local.first_request", description=__doc__)
    for folder in ("--models", "--events", "--raw", "--log"):
        parser.add_argument(folder, type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", type=int, required=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))  # so that the server ends, too
    with exit_on_error(STEP):
        sys.stdout.write(json.dumps(ask_first_question(**vars(parser.parse_args()))) + "\n")


def ask_first_question(models: Path, events: Path, name: str, version: int, raw: Path, log: Path) -> dict[str, Any]:
    """Serves the repository, sends the raw form of a known slice, and compares the answer.

    Args:
        models: the local model repository.
        events: folder for the drift event that the answer leaves.
        name: of the model.
        version: that was just deployed.
        raw: the data set of raw slices that the known slice came from.
        log: takes the server's output.

    Returns:
        id, truth, species, confidence, and `difference`, the largest one of any score.

    Raises:
        DeployError: the server does not answer, or answers something else than the evaluation.
    """
    card = read_card(version_folder(models, name, version))
    known = {example.id: example for example in card.examples}
    identifier, encoded = next((id_, png) for id_, _, png in iterate_split(raw, "test") if id_ in known)
    with _server(models, events, log) as url, Client(url, timeout_s=30) as client:
        client.wait_until_ready(name, READY_WITHIN_S, version=version)
        (answer,) = client.predict(name, [encoded], specimen=f"first-request-{identifier}")
    return _compared(answer, known[identifier], log)


def _compared(answer: SlicePrediction, example: Example, log: Path) -> dict[str, Any]:
    """Returns what `ask_first_question` does; raises DeployError for another answer than the evaluation's."""
    difference = example.difference(answer.scores)
    if difference > TOLERANCE:
        raise DeployError(
            f"the served scores of slice {example.id} differ by {difference:.2g} from the evaluation's",
            f"at most {TOLERANCE:g}",
            f"Look at {log}.",
        )
    return {
        "id": example.id,
        "truth": example.species,
        "species": answer.species,
        "confidence": answer.confidence,
        "difference": difference,
    }


@contextmanager
def _server(models: Path, events: Path, log: Path) -> Iterator[str]:
    """Runs the local server on a free port for the length of the block; yields its address."""
    port = free_port()
    options = {"--repository": models, "--events": events, "--port": port}
    command = [sys.executable, "-m", "serving", *(str(word) for option in options.items() for word in option)]
    with background_process(command, log):
        yield f"http://{HOST}:{port}"


if __name__ == "__main__":
    main()
