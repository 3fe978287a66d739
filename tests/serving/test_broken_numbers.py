"""A model whose numbers are none: its slices are unknown or its answer is an error, never a species it is sure of."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.shared.signatures import sign_folder
from serving.loaded_version import LoadedVersion
from serving.preparation import Expectation
from serving.protocol import SIGNATURE, Outputs, RequestError
from serving.remote import RemotePredictor
from serving.repository import Repository
from tests.serving.conftest import card_of, write_saved_model

AnswerWith = Callable[[str], RemotePredictor]


@pytest.fixture
def predictor_that_says() -> Iterator[AnswerWith]:
    """A TensorFlow Serving that answers every slice with one number: as scores, confidence and embedding."""
    servers: list[ThreadingHTTPServer] = []

    def started(number: str) -> RemotePredictor:
        row = f'"confidence": {number}, "scores": [{number}], "embedding": [{number}], "unknown": false'
        content = f'{{"predictions": [{{"species": "a", {row}}}]}}'.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        address = f"http://127.0.0.1:{servers[-1].server_port}"
        return RemotePredictor("forams", address, Expectation(1, True), 5.0)

    yield started
    for server in servers:
        server.shutdown()
        server.server_close()


def answer_of(predictor: RemotePredictor) -> Outputs:
    async def ask() -> Outputs:
        return (await (await predictor.version_of("forams", 1)).predict([b"png"], SIGNATURE))[0]

    return asyncio.run(ask())


def test_a_model_in_this_process_whose_scores_are_nan_calls_every_slice_unknown(
    tmp_path: Path, segmented_slices: list[bytes]
) -> None:
    folder = tmp_path / "broken" / "1"
    write_saved_model(folder, 1, factor=np.nan)
    card_of("broken").write(folder / "model.json")
    sign_folder(folder, None)
    stored = Repository(tmp_path).newest("broken")
    assert stored
    with ThreadPoolExecutor(1) as workers:
        answer = LoadedVersion(stored, workers).run(segmented_slices[:2])
    assert np.isnan(answer.scores).all()
    assert answer.unknown.tolist() == [True, True]


@pytest.mark.parametrize(("number", "unknown"), [("0.5", [False]), ("null", [True])])
def test_a_slice_without_numbers_of_tensorflow_serving_is_unknown(
    predictor_that_says: AnswerWith, number: str, unknown: list[bool]
) -> None:
    assert answer_of(predictor_that_says(number)).unknown.tolist() == unknown


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_an_answer_of_tensorflow_serving_that_is_no_json_is_a_502(predictor_that_says: AnswerWith, number: str) -> None:
    with pytest.raises(RequestError, match="without JSON") as refused:
        answer_of(predictor_that_says(number))
    assert refused.value.status == 502
