"""Models with numbers that are not finite or missing: slices are unknown, or the answer is an error."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from components.shared.model_repository import Repository
from components.shared.signing import sign_folder
from serving.outputs import Outputs
from serving.predictors.base import Expectation
from serving.predictors.local import LoadedVersion
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.protocol import SIGNATURE, RequestError, encode_answer
from tests.http_server import Response, http_server
from tests.serving.conftest import card_of, id_of_model, write_saved_model


def content_of(number: str, rows: int = 1) -> bytes:
    """Return a TensorFlow Serving answer with one number as scores, confidence and embedding of every slice."""
    row = f'"confidence": {number}, "scores": [{number}], "embedding": [{number}], "unknown": false'
    return f'{{"predictions": [{", ".join([f"""{{"species": "a", {row}}}"""] * rows)}]}}'.encode()


def predict(content: bytes, status: int = 200) -> Outputs:
    """Return the outputs for one slice from a TensorFlow Serving that always gives this answer."""

    async def predict_slice(address: str) -> Outputs:
        predictor = RemotePredictor("forams", address, Expectation(1, True), 5.0)
        return (await (await predictor.get_version("forams", 1)).predict([b"png"], SIGNATURE))[0]

    with http_server(lambda _: Response(status, content)) as address:
        return asyncio.run(predict_slice(address))


def test_a_local_model_with_nan_scores_reports_unknown_slices(tmp_path: Path, segmented_slices: list[bytes]) -> None:
    folder = tmp_path / "broken" / "1"
    write_saved_model(folder, 1, factor=np.nan)
    card_of("broken", model_id=id_of_model(1)).write(folder / "model.json")
    sign_folder(folder, None)
    version = Repository(tmp_path).newest("broken")
    assert version
    with ThreadPoolExecutor(1) as workers:
        answer = LoadedVersion(version, workers).run(segmented_slices[:2])
    assert np.isnan(answer.scores).all()
    assert answer.unknown.tolist() == [True, True]


NOT_FINITE = ["null", "NaN", "Infinity", "-Infinity"]


@pytest.mark.parametrize(("number", "unknown"), [("0.5", [False]), *((number, [True]) for number in NOT_FINITE)])
def test_a_slice_without_finite_numbers_is_unknown(number: str, unknown: list[bool]) -> None:
    outputs = predict(content_of(number))
    assert outputs.unknown.tolist() == unknown
    assert b"NaN" not in encode_answer(outputs.rows())


@pytest.mark.parametrize("content", [b"NaN]", b"[" * 10**5 + b"NaN", b'{"predictions": [NaN}'])
def test_an_answer_that_is_not_json_is_a_502(content: bytes) -> None:
    with pytest.raises(RequestError, match="without JSON") as error:
        predict(content)
    assert error.value.status == 502


@pytest.mark.parametrize("rows", [0, 2])
def test_another_number_of_predictions_than_slices_is_a_502(rows: int) -> None:
    with pytest.raises(RequestError, match=f"{rows} predictions for 1 slices") as error:
        predict(content_of("0.5", rows))
    assert error.value.status == 502


def test_scores_of_another_shape_are_a_502() -> None:
    with pytest.raises(RequestError, match="contract") as error:
        predict(content_of("[0.5]"))
    assert error.value.status == 502


@pytest.mark.parametrize(("status", "client_status"), [(302, 502), (599, 599), (404, 404)])
def test_every_unsuccessful_status_is_an_error(status: int, client_status: int) -> None:
    with pytest.raises(RequestError) as error:
        predict(content_of("0.5"), status)
    assert error.value.status == client_status
