"""Bounds on what one client may ask for, where the whole server is not needed to see them."""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import ModelRepository
from kserve.protocol.dataplane import DataPlane
from PIL import Image
from prometheus_client import generate_latest
from starlette.applications import Starlette
from starlette.requests import Request

from components.shared.images.decoding import decode_image, encode_png
from components.shared.images.photographs import read_photograph
from serving.http.bodies import Bodies
from serving.http.routes import Routes
from serving.http.server import TransformerRegistry
from serving.predictors.base import Expectation, prepare_slices
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.protocol import Instance, Limits, Outputs, RequestError, encode_answer, parse_predict, predict_answer

Receive = Callable[[], Awaitable[dict[str, Any]]]


def request_of(receive: Receive, headers: dict[str, str] | None = None) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def read(bodies: Bodies, receive: Receive) -> bytes:
    async with bodies.read(request_of(receive)) as body:
        return body


def body_of(receive: Receive, limits: Limits) -> bytes:
    return asyncio.run(read(Bodies(limits), receive))


def chunks_of(*chunks: bytes) -> Receive:
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting)}

    return receive


async def never() -> dict[str, Any]:
    await asyncio.sleep(60)
    return {}


def test_a_slow_body_is_given_up() -> None:
    with pytest.raises(RequestError, match=r"within 0\.1 s") as refused:
        body_of(never, Limits(read_timeout_s=0.1))
    assert refused.value.status == 408


def test_a_body_is_bounded_chunk_by_chunk() -> None:
    assert body_of(chunks_of(b"abc", b"de"), Limits(max_body_bytes=5)) == b"abcde"
    with pytest.raises(RequestError, match="more than 4") as refused:
        body_of(chunks_of(b"abc", b"de", b"f"), Limits(max_body_bytes=4))
    assert refused.value.status == 413


def test_all_bodies_together_are_bounded_and_make_room_when_they_end() -> None:
    async def read_two_at_a_time(bodies: Bodies) -> None:
        async with bodies.read(request_of(chunks_of(b"abc"))):
            assert await read(bodies, chunks_of(b"de")) == b"de"
            with pytest.raises(RequestError, match="too many large requests") as refused:
                await read(bodies, chunks_of(b"defg"))
            assert refused.value.status == 503
        assert await read(bodies, chunks_of(b"defgh")) == b"defgh"

    asyncio.run(read_two_at_a_time(Bodies(Limits(max_held_bytes=5))))


def test_more_requests_than_can_be_answered_are_asked_to_come_again(
    segmented_slices: list[bytes], instances_of: Any
) -> None:
    predictor = RemotePredictor("forams", "http://127.0.0.1:1", Expectation(1, True), 1.0)
    limits = Limits(max_in_flight=0)
    app = Starlette(routes=Routes(DataPlane(ModelRepository()), predictor, limits).all())

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/v1/models/forams:predict", json=instances_of(segmented_slices[:1]))

    response = asyncio.run(ask())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "0 requests at a time" in response.json()["error"]


def test_names_of_unknown_models_leave_no_metrics_and_their_bodies_are_not_read() -> None:
    predictor = RemotePredictor("forams", "http://127.0.0.1:1", Expectation(1, True), 1.0)
    with ThreadPoolExecutor(1) as workers:
        transformers = TransformerRegistry(predictor, workers, Limits())
        app = Starlette(routes=Routes(DataPlane(transformers), predictor, Limits()).all())

        async def ask(name: str) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                return await client.post(f"/v1/models/{name}:predict", content=b"no JSON")

        responses = [asyncio.run(ask(f"nobody-{number}")) for number in range(3)]
    assert {response.status_code for response in responses} == {404}
    assert "the model 'nobody-0': expected 'forams'" in responses[0].json()["error"]
    assert b"nobody" not in generate_latest()


def test_all_pixels_of_a_request_together_are_bounded() -> None:
    slices = [Instance(encode_png(np.full((10, 10), 200, np.uint8)))] * 3
    expectation = Expectation(channels=1, segmented=False)
    assert len(prepare_slices(slices, expectation, max_pixels=300)) == 3
    with pytest.raises(RequestError, match="instance 2 is an image of 10 x 10 pixels"):
        prepare_slices(slices, expectation, max_pixels=299)


def test_colour_stays_colour_for_a_model_of_photographs() -> None:
    photograph = np.random.default_rng(0).integers(0, 255, (12, 9, 3), dtype=np.uint8)
    prepared = prepare_slices([Instance(encode_png(photograph))], Expectation(channels=3, segmented=False))
    np.testing.assert_array_equal(prepared[0].pixels, photograph)
    assert prepared[0].image == encode_png(photograph)


def test_a_photograph_is_prepared_as_ingest_prepares_it() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8))
    sink, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(sink, "JPEG", exif=exif)
    expectation = Expectation(channels=3, segmented=False, image_size=32)
    (prepared,) = prepare_slices([Instance(sink.getvalue())], expectation)
    expected = read_photograph(sink.getvalue(), 32).framed
    np.testing.assert_array_equal(prepared.pixels, expected)
    np.testing.assert_array_equal(decode_image(prepared.image, 3), expected)
    assert prepare_slices([Instance(prepared.image)], expectation)[0].image == prepared.image


def test_the_pixels_of_a_request_are_those_of_its_photographs_before_they_are_scaled() -> None:
    photograph = Instance(encode_png(np.full((40, 50, 3), 90, np.uint8)))
    expectation = Expectation(channels=3, segmented=False, image_size=32)
    assert len(prepare_slices([photograph] * 2, expectation, max_pixels=4000)) == 2
    with pytest.raises(RequestError, match="instance 1"):
        prepare_slices([photograph] * 2, expectation, max_pixels=3999)


def test_a_segmented_slice_is_forwarded_byte_for_byte(segmented_slices: list[bytes]) -> None:
    prepared = prepare_slices([Instance(segmented_slices[0])], Expectation(channels=1, segmented=True))
    assert prepared[0].image is segmented_slices[0]


def test_the_number_of_json_values_is_bounded_before_parsing() -> None:
    limits = Limits(max_instances=2)
    with pytest.raises(RequestError, match="9 lists and objects"):
        parse_predict(b"[" * 9, limits)


def test_numbers_that_are_no_numbers_become_null_and_their_slice_unknown() -> None:
    said = {"species": ["a"], "confidence": [np.inf], "scores": [[np.nan, 1.0]], "embedding": np.zeros((1, 0))}
    outputs = Outputs.from_values({**said, "unknown": [False]})
    answer = encode_answer(predict_answer(outputs, columns=False, specimens={}))
    expected = b'{"species":"a","confidence":null,"scores":[null,1.0],"unknown":true,"embedding":[]}'
    assert answer == b'{"predictions":[' + expected + b"]}"
