"""The signature `crops`, which takes pixels as lists."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from serving.limits import Limits
from serving.protocol import RequestError, parse_predict

Body = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def crops(segmented_slices: list[bytes]) -> np.ndarray:
    from components.shared.images.crops import decode_and_crop

    return np.stack([decode_and_crop(png, 32, 1).numpy() for png in segmented_slices[:2]])


def ask(server: Any, body: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/forams:predict", json=body, timeout=30)


def test_pixels_get_the_answer_of_the_encoded_slice(
    server: Any, crops: np.ndarray, segmented_slices: list[bytes], instances_of: Body
) -> None:
    answer = ask(server, instances_of(segmented_slices[:2])).json()["predictions"]
    by_row = ask(server, {"signature_name": "crops", "instances": crops.tolist()}).json()["predictions"]
    by_column = ask(server, {"signature_name": "crops", "inputs": {"crops": crops.tolist()}}).json()["outputs"]
    for answers in (by_row, [{"scores": scores} for scores in by_column["scores"]]):
        np.testing.assert_allclose(
            [answer["scores"] for answer in answers], [answer["scores"] for answer in answer], atol=1e-5
        )
    assert [answer["species"] for answer in by_row] == [answer["species"] for answer in answer]


def test_a_transformer_forwards_pixels(server: Any, start_transformer: Callable[..., Any], crops: np.ndarray) -> None:
    transformer = start_transformer(server.url.removeprefix("http://"))
    body = {"signature_name": "crops", "instances": [{"crops": crop.tolist()} for crop in crops]}
    assert ask(transformer, body).json() == ask(server, body).json()


def test_the_metadata_shows_both_signatures(server: Any) -> None:
    answer = httpx.get(f"{server.url}/v1/models/forams/metadata").json()
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) == {"serving_default", "crops"}
    crops_input = signatures["crops"]["inputs"]["crops"]
    assert crops_input["dtype"] == "DT_UINT8"
    assert [edge["size"] for edge in crops_input["tensor_shape"]["dim"]] == ["-1", "32", "32", "1"]


def test_crops_of_another_size_are_rejected_with_the_right_size(server: Any) -> None:
    answer = ask(server, {"signature_name": "crops", "instances": np.zeros((1, 16, 16, 1), int).tolist()})
    assert answer.status_code == 400
    assert answer.json()["error"] == "crops of the shape [1, 16, 16, 1]: expected [None, 32, 32, 1]"


@pytest.mark.parametrize(
    ("crops", "complaint"),
    [
        ([[[[256]]]], "whole numbers from 0 to 255"),
        ([[[[-1]]]], "whole numbers from 0 to 255"),
        ([[[[0.5]]]], "float64 values"),
        ([[[["a"]]]], "crops of 4 dimensions"),
        (["a" * 2_000_000, *[""] * 2_000_000], "text values"),  # would be 15 TiB as an array of text
        ([[[[1], [2, 3]]]], "different lengths"),
        ([[1, 2]], "crops of 2 dimensions"),
        ([], "crops of 1 dimensions"),
        ({"image_bytes": {"b64": ""}}, "crops of 0 dimensions"),
        ([{"image_bytes": {"b64": ""}}], "crops of 1 dimensions"),
        (None, "crops of 0 dimensions"),
    ],
)
def test_values_that_are_not_pixels_are_rejected(crops: Any, complaint: str) -> None:
    body = json.dumps({"signature_name": "crops", "instances": crops}).encode()
    with pytest.raises(RequestError, match=complaint) as error:
        parse_predict(body, Limits())
    assert error.value.status == 400


def test_the_number_of_lists_is_bounded_before_they_are_parsed() -> None:
    body = b'{"signature_name": "crops", "instances": [' + b"[" * 2_000
    with pytest.raises(RequestError, match="2002 lists and objects"):
        parse_predict(body, Limits(max_pixel_lists=1_000))
