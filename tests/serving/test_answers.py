"""Answers over HTTP in TensorFlow Serving's REST format, compared with direct calls of the SavedModel."""

import io
import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from components.shared.model_repository import read_card
from tests.serving.conftest import id_of_model
from tests.waiting import wait_until

Body = Callable[..., dict[str, Any]]
OUTPUTS = {"species", "confidence", "scores", "unknown", "unknown_score", "embedding", "model"}


def ask(server: Any, body: Any, path: str = "forams:predict") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/{path}", json=body, timeout=30)


def assert_same(rows: list[dict[str, Any]], own_outputs: dict[str, Any]) -> None:
    assert [row["species"].encode() for row in rows] == own_outputs["species"].tolist()
    assert [row["unknown"] for row in rows] == own_outputs["unknown"].tolist()
    for name in ("confidence", "scores", "embedding"):
        np.testing.assert_allclose([row[name] for row in rows], own_outputs[name], atol=1e-5, rtol=0)


def test_the_served_answer_equals_the_models_own_for_the_same_bytes(
    server: Any, segmented_slices: list[bytes], reference: Any, instances_of: Body
) -> None:
    response = ask(server, instances_of(segmented_slices))
    assert response.status_code == 200
    assert set(response.json()["predictions"][0]) == OUTPUTS
    assert_same(response.json()["predictions"], reference[1](segmented_slices))


def test_every_answer_and_vote_names_the_cards_model(server: Any, raw_slices: list[bytes], instances_of: Body) -> None:
    card = read_card(server.repository / "forams" / "1")
    answer = ask(server, instances_of(raw_slices, "Fallotia-7")).json()
    assert card.model_id == id_of_model(1)
    assert [row["model"] for row in answer["predictions"]] == [card.model_id] * len(raw_slices)
    assert answer["specimens"]["Fallotia-7"]["model"] == card.model_id
    wait_until(lambda: '"model_id":"' in events_text(server), 10)
    assert f'"model_id":"{card.model_id}"' in events_text(server)


def events_text(server: Any) -> str:
    return "".join(file.read_text() for file in server.events.glob("*.jsonl"))


def test_the_answers_differ_between_slices(segmented_slices: list[bytes], reference: Any) -> None:
    scores = reference[1](segmented_slices)["scores"]
    assert np.abs(scores[1:] - scores[0]).max(axis=1).min() > 1e-3
    assert np.abs(reference[2](segmented_slices)["scores"] - scores).max() > 1e-3


def test_a_raw_slice_and_the_segmented_one_get_the_same_answer(
    server: Any, raw_slices: list[bytes], segmented_slices: list[bytes], instances_of: Body
) -> None:
    raw, segmented_slice = (ask(server, instances_of(images)).json() for images in (raw_slices, segmented_slices))
    assert raw == segmented_slice


def test_each_lossless_encoding_of_a_slice_gets_the_same_answer(
    server: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    slice_image = Image.open(io.BytesIO(raw_slices[0]))
    answers = []
    for form, mode in (("PNG", "L"), ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "P"), ("BMP", "L"), ("GIF", "L")):
        file = io.BytesIO()
        slice_image.convert(mode).save(file, form)
        answers.append(ask(server, instances_of([file.getvalue()])).json())
    file = io.BytesIO()
    slice_image.convert("RGB").save(file, "WEBP", lossless=True)
    answers.append(ask(server, instances_of([file.getvalue()])).json())
    assert all(answer == answers[0] for answer in answers)


def test_a_black_slice_gets_an_answer(server: Any, reference: Any, instances_of: Body) -> None:
    file = io.BytesIO()
    Image.new("L", (64, 48)).save(file, "PNG")
    assert_same(ask(server, instances_of([file.getvalue()])).json()["predictions"], reference[1]([file.getvalue()]))


def test_a_request_in_columns_is_answered_in_columns(
    server: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    rows = instances_of(segmented_slices)["instances"]
    columns = {"inputs": {"image_bytes": [row["image_bytes"] for row in rows]}}
    outputs = ask(server, columns).json()["outputs"]
    predictions = ask(server, {"instances": rows}).json()["predictions"]
    assert set(outputs) == OUTPUTS
    assert [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)] == predictions


def test_the_short_forms_of_a_single_input_are_accepted(
    server: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    short = instances_of(segmented_slices[:1])["instances"][0]["image_bytes"]
    own_outputs = ask(server, instances_of(segmented_slices[:1])).json()["predictions"]
    assert ask(server, {"instances": [short]}).json()["predictions"] == own_outputs
    assert ask(server, {"inputs": [short]}).json()["outputs"]["species"] == [own_outputs[0]["species"]]


def test_the_signature_may_be_named(server: Any, segmented_slices: list[bytes], instances_of: Body) -> None:
    body = {"signature_name": "serving_default", **instances_of(segmented_slices[:1])}
    assert ask(server, body).status_code == 200


def test_curls_default_content_type_is_accepted(server: Any, segmented_slices: list[bytes], instances_of: Body) -> None:
    body = json.dumps(instances_of(segmented_slices[:1])).encode()
    command = ["curl", "-sS", "--data-binary", "@-", f"{server.url}/v1/models/forams:predict"]
    answer = subprocess.run(command, input=body, capture_output=True, check=True).stdout
    assert len(json.loads(answer)["predictions"]) == 1


def test_a_named_specimen_gets_the_mean_of_its_slices_scores(
    server: Any, raw_slices: list[bytes], reference: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    first, second = instances_of(raw_slices[:4], "Fallotia-7"), instances_of(raw_slices[4:])
    answer = ask(server, {"instances": first["instances"] + second["instances"]}).json()
    own_outputs = reference[1](segmented_slices[:4])["scores"].mean(axis=0)
    vote = answer["specimens"].pop("Fallotia-7")
    assert not answer["specimens"]
    assert vote["slices"] == 4
    assert vote["confidence"] == pytest.approx(float(own_outputs.max()), abs=1e-5)
    assert vote["species"] == ("alveolina", "fallotia", "lockhartia", "orbitoides")[int(own_outputs.argmax())]


def test_the_status_is_tensorflow_servings(server: Any) -> None:
    own_outputs = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in ("forams", "forams/versions/1"):
        assert httpx.get(f"{server.url}/v1/models/{path}").json() == {"model_version_status": [own_outputs]}


def test_the_metadata_is_tensorflow_servings(server: Any) -> None:
    for path in ("forams/metadata", "forams/versions/1/metadata"):
        answer = httpx.get(f"{server.url}/v1/models/{path}").json()
        assert answer["model_spec"] == {"name": "forams", "signature_name": "", "version": "1"}
        signature = answer["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert signature["method_name"] == "tensorflow/serving/predict"
        shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
        assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
        assert signature["inputs"]["image_bytes"]["tensor_shape"] == shape
        assert set(signature["outputs"]) == OUTPUTS


def test_a_version_can_be_requested(server: Any, segmented_slices: list[bytes], instances_of: Body) -> None:
    body = instances_of(segmented_slices[:1])
    assert ask(server, body, "forams/versions/1:predict").json() == ask(server, body).json()


def test_health_readiness_and_models_are_reported(server: Any) -> None:
    for path in ("/", "/healthz", "/v2/health/live", "/v2/health/ready", "/readyz"):
        assert httpx.get(server.url + path).status_code == 200
    assert "forams" in httpx.get(f"{server.url}/v1/models").json()["models"]


def test_metrics_count_requests_by_model_and_status(
    server: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    ask(server, instances_of(segmented_slices[:1]))
    ask(server, {"instances": []})
    ask(server, {}, "another-name:predict")
    text = httpx.get(f"{server.url}/metrics").text
    assert 'taxonflow_requests_total{model="forams",status="200"}' in text
    assert 'taxonflow_requests_total{model="forams",status="400"}' in text
    assert "another-name" not in text
    assert 'taxonflow_model_version{model="forams"} 1.0' in text
    assert 'request_predict_seconds_count{model_name="forams"}' in text
