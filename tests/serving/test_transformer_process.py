"""The transformer process, with `python -m serving` as its TensorFlow Serving."""

import gzip
import json
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from components.shared.errors import BadConfigError
from components.shared.images.decoding import encode_png
from serving.transformer import parse_arguments, predictor_url
from tests.http_server import Request, Response, http_server
from tests.serving.conftest import CLASSES, raw_slice

Body = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def transformer(server: Any, start_transformer: Any) -> Iterator[Any]:
    return start_transformer(urlsplit(server.url).netloc)


def post(url: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/models/forams:predict", json=body, timeout=30)


def test_it_answers_like_the_local_server(
    server: Any, transformer: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    body = instances_of(raw_slices, "Fallotia-1")
    direct, indirect = post(server.url, body), post(transformer.url, body)
    assert indirect.status_code == 200
    assert indirect.json()["specimens"]["Fallotia-1"]["species"] == direct.json()["specimens"]["Fallotia-1"]["species"]
    for row, direct_row in zip(indirect.json()["predictions"], direct.json()["predictions"], strict=True):
        assert row["species"] == direct_row["species"]
        np.testing.assert_allclose(row["scores"], direct_row["scores"], atol=1e-6)


def test_it_votes_among_all_species_of_the_model(server: Any, transformer: Any, instances_of: Body) -> None:
    slices = [raw_slice(seed) for seed in range(40)]
    rows = post(server.url, instances_of(slices)).json()["predictions"]
    scores = np.array([row["scores"] for row in rows])
    pairs = ((one, two) for two in range(len(rows)) for one in range(two))
    one, two = next(pair for pair in pairs if CLASSES[scores[list(pair)].mean(0).argmax()] not in named(rows, pair))
    body = instances_of([slices[one], slices[two]], "between-two")
    vote = post(transformer.url, body).json()["specimens"]["between-two"]
    assert (vote["agreement"], vote["slices"]) == (0.0, 2)
    assert vote == pytest.approx(post(server.url, body).json()["specimens"]["between-two"], abs=1e-6)


def named(rows: list[dict[str, Any]], places: tuple[int, int]) -> set[str]:
    return {rows[place]["species"] for place in places}


def test_it_segments_before_it_forwards(
    transformer: Any, raw_slices: list[bytes], segmented_slices: list[bytes], reference: Any, instances_of: Body
) -> None:
    rows = post(transformer.url, instances_of(raw_slices)).json()["predictions"]
    direct_row = reference[1](segmented_slices)["scores"]
    assert np.abs(reference[1](raw_slices)["scores"] - direct_row).max() > 1e-3
    np.testing.assert_allclose([row["scores"] for row in rows], direct_row, atol=1e-5)


def test_the_predictors_status_metadata_and_errors_are_forwarded(
    server: Any, transformer: Any, instances_of: Body
) -> None:
    for path in ("forams", "forams/metadata", "forams/versions/1"):
        assert (
            httpx.get(f"{transformer.url}/v1/models/{path}").json()
            == httpx.get(f"{server.url}/v1/models/{path}").json()
        )
    response = httpx.get(f"{transformer.url}/v1/models/forams/versions/9")
    assert response.status_code == 404
    assert "version 9" in response.json()["error"]
    assert httpx.get(f"{transformer.url}/v1/models/kept").status_code == 404
    unknown_signature = post(transformer.url, {"signature_name": "x", **instances_of([encoded_black()])})
    assert unknown_signature.status_code == 400
    assert "signature" in unknown_signature.json()["error"]


def test_gzip_bodies_are_decompressed_before_they_are_forwarded(
    transformer: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    body = instances_of(segmented_slices[:2])
    url, headers = f"{transformer.url}/v1/models/forams:predict", {"Content-Encoding": "gzip"}
    response = httpx.post(url, content=gzip.compress(json.dumps(body).encode()), headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    assert response.json() == post(transformer.url, body).json()
    bomb = httpx.post(url, content=gzip.compress(b" " * 2**28), headers=headers, timeout=30)
    assert bomb.status_code == 413


def encoded_black() -> bytes:
    return encode_png(np.zeros((20, 20), np.uint8))


def test_bad_input_is_rejected_before_it_is_forwarded(transformer: Any, instances_of: Body) -> None:
    assert post(transformer.url, {"instances": []}).status_code == 400
    assert "instance 0" in post(transformer.url, instances_of([b"junk"])).json()["error"]


def test_its_drift_events_carry_the_predictors_version(
    server: Any, start_transformer: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    transformer = start_transformer(urlsplit(server.url).netloc)
    post(transformer.url, instances_of(raw_slices[:2], "over-there"))
    transformer.process.send_signal(signal.SIGTERM)
    assert transformer.process.wait(30) == 0
    lines = [json.loads(line) for file in transformer.events.glob("*.jsonl") for line in file.read_text().splitlines()]
    events = [line for line in lines if line["specimen"] == "over-there"]
    assert [line["version"] for line in events] == [1, 1]


def test_it_names_the_version_of_the_model_that_answers(
    start_transformer: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    old, new = "5" * 64, "6" * 64
    models = [new]

    def respond(request: Request) -> Response:
        if request.method == "GET":
            return Response.of_json({"model_version_status": [{"version": "1", "state": "AVAILABLE"}]})
        row = {"species": "a", "confidence": 1, "scores": [1], "unknown": False, "embedding": [0], "model": models[-1]}
        return Response.of_json({"predictions": [row] * len(json.loads(request.body)["instances"])})

    with http_server(respond) as address:
        versions = json.dumps({old: 5, new: 6})
        options = ["--model_version", "6", "--model_versions", versions]
        transformer = start_transformer(urlsplit(address).netloc, *options)
        for model in (new, old, old, "f" * 64):
            models.append(model)
            answer = post(transformer.url, instances_of(raw_slices[:2], "s")).json()
            assert [row["model"] for row in answer["predictions"]] == [model] * 2
            assert answer["specimens"]["s"]["model"] == model
        metrics = httpx.get(f"{transformer.url}/metrics").text
        transformer.process.send_signal(signal.SIGTERM)
        assert transformer.process.wait(30) == 0
    lines = [json.loads(line) for file in transformer.events.glob("*.jsonl") for line in file.read_text().splitlines()]
    named = [(line["version"], line["model_id"]) for line in lines]
    assert named == [(6, new)] * 2 + [(5, old)] * 4 + [(0, "f" * 64)] * 2
    assert 'taxonflow_answers_of_other_versions_total{model="forams",version="5"} 2.0' in metrics
    assert 'taxonflow_slices_total{model="forams",version="5"} 4.0' in metrics
    assert transformer.log.read_text().count("still answered by version 5, whose pods end") == 1


def test_an_unreachable_predictor_is_a_503_and_not_ready(
    start_transformer: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    transformer = start_transformer(f"127.0.0.1:{port}", ready=False)
    response = post(transformer.url, instances_of(raw_slices[:1]))
    assert response.status_code == 503
    assert "cannot be reached" in response.json()["error"]
    assert httpx.get(f"{transformer.url}/readyz").status_code == 503
    assert httpx.get(transformer.url).status_code == 200


def test_a_predictor_that_does_not_answer_is_a_504(
    start_transformer: Any, raw_slices: list[bytes], instances_of: Body
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        transformer = start_transformer(address, "--predictor_request_timeout_seconds", "1", ready=False)
        response = post(transformer.url, instances_of(raw_slices[:1]))
    assert response.status_code == 504
    assert "in time" in response.json()["error"] or "within" in response.json()["error"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [([], "no --predictor_host"), (["--predictor_host", "h", "--predictor_protocol", "v2"], "expected v1")],
)
def test_invalid_options_are_rejected(options: list[str], reason: str) -> None:
    with pytest.raises(BadConfigError, match=reason):
        predictor_url(parse_arguments(["--model_name", "m", *options]))
