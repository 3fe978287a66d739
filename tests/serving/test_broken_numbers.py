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
from serving.predictors.loaded_version import LoadedVersion

from components.shared.model_repository import Repository
from components.shared.signing import sign_folder
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.preparation import Expectation
from serving.protocol import SIGNATURE, Outputs, RequestError
from tests.serving.conftest import card_of, write_saved_model

AnswerWith = Callable[..., RemotePredictor]


@pytest.fixture
def predictor_that_says() -> Iterator[AnswerWith]:
    """A TensorFlow Serving that answers every slice with one number: as scores, confidence and embedding."""
    servers: list[ThreadingHTTPServer] = []

    def started(number: str, rows: int = 1, status: int = 200) -> RemotePredictor:
        row = f'"confidence": {number}, "scores": [{number}], "embedding": [{number}], "unknown": false'
        content = f'{{"predictions": [{", ".join([f"""{{"species": "a", {row}}}"""] * rows)}]}}'.encode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
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


@pytest.mark.parametrize("rows", [0, 2])
def test_as_many_predictions_as_slices_or_a_502(predictor_that_says: AnswerWith, rows: int) -> None:
    with pytest.raises(RequestError, match=f"{rows} predictions for 1 slices") as refused:
        answer_of(predictor_that_says("0.5", rows))
    assert refused.value.status == 502


def test_scores_that_are_no_row_for_each_slice_are_a_502(predictor_that_says: AnswerWith) -> None:
    with pytest.raises(RequestError, match="not of the contract") as refused:
        answer_of(predictor_that_says("[0.5]"))
    assert refused.value.status == 502


@pytest.mark.parametrize(("status", "passed_on"), [(302, 502), (599, 599), (404, 404)])
def test_every_status_of_tensorflow_serving_that_is_no_answer_is_an_error(
    predictor_that_says: AnswerWith, status: int, passed_on: int
) -> None:
    with pytest.raises(RequestError) as refused:
        answer_of(predictor_that_says("0.5", status=status))
    assert refused.value.status == passed_on
