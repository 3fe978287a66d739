"""Limits of requests, tested without a server process."""

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
from serving.http.bodies import BodyReader
from serving.http.routes import RequestHandlers
from serving.http.server import TransformerRegistry
from serving.limits import Limits
from serving.outputs import Outputs
from serving.predictors.base import Expectation
from serving.predictors.tensorflow_serving import RemotePredictor
from serving.preparation import prepare_slices
from serving.protocol import Instance, RequestError, encode_answer, parse_predict, predict_answer

Receive = Callable[[], Awaitable[dict[str, Any]]]


def request_of(receive: Receive, headers: dict[str, str] | None = None) -> Request:
    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def read(bodies: BodyReader, receive: Receive) -> bytes:
    async with bodies.read(request_of(receive)) as body:
        return body


def body_of(receive: Receive, limits: Limits) -> bytes:
    return asyncio.run(read(BodyReader(limits), receive))


def chunks_of(*chunks: bytes) -> Receive:
    requests = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": requests.pop(0), "more_body": bool(requests)}

    return receive


async def never() -> dict[str, Any]:
    await asyncio.sleep(60)
    return {}


def test_a_slow_body_times_out() -> None:
    with pytest.raises(RequestError, match=r"within 0\.1 s") as error:
        body_of(never, Limits(read_timeout_s=0.1))
    assert error.value.status == 408


def test_a_body_is_bounded_chunk_by_chunk() -> None:
    assert body_of(chunks_of(b"abc", b"de"), Limits(max_body_bytes=5)) == b"abcde"
    with pytest.raises(RequestError, match="more than 4") as error:
        body_of(chunks_of(b"abc", b"de", b"f"), Limits(max_body_bytes=4))
    assert error.value.status == 413


def test_the_sum_of_bodies_is_bounded_until_they_are_released() -> None:
    async def read_two_at_a_time(bodies: BodyReader) -> None:
        async with bodies.read(request_of(chunks_of(b"abc"))):
            assert await read(bodies, chunks_of(b"de")) == b"de"
            with pytest.raises(RequestError, match="too many large requests") as error:
                await read(bodies, chunks_of(b"defg"))
            assert error.value.status == 503
        assert await read(bodies, chunks_of(b"defgh")) == b"defgh"

    asyncio.run(read_two_at_a_time(BodyReader(Limits(max_held_bytes=5))))


def test_too_many_requests_at_a_time_get_503(segmented_slices: list[bytes], instances_of: Any) -> None:
    predictor = RemotePredictor("forams", "http://127.0.0.1:1", Expectation(1, True), 1.0)
    limits = Limits(max_in_flight=0)
    app = Starlette(routes=RequestHandlers(DataPlane(ModelRepository()), predictor, limits).routes())

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return await client.post("/v1/models/forams:predict", json=instances_of(segmented_slices[:1]))

    response = asyncio.run(ask())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "0 requests in progress" in response.json()["error"]


def test_unknown_models_leave_no_metrics_and_their_bodies_stay_unread() -> None:
    predictor = RemotePredictor("forams", "http://127.0.0.1:1", Expectation(1, True), 1.0)
    with ThreadPoolExecutor(1) as workers:
        transformers = TransformerRegistry(predictor, workers, Limits())
        app = Starlette(routes=RequestHandlers(DataPlane(transformers), predictor, Limits()).routes())

        async def ask(name: str) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
                return await client.post(f"/v1/models/{name}:predict", content=b"no JSON")

        responses = [asyncio.run(ask(f"stranger-{number}")) for number in range(3)]
    assert {response.status_code for response in responses} == {404}
    assert "the model 'stranger-0': expected 'forams'" in responses[0].json()["error"]
    assert b"stranger" not in generate_latest()


def test_the_sum_of_pixels_is_bounded() -> None:
    slices = [Instance(encode_png(np.full((10, 10), 200, np.uint8)))] * 3
    expectation = Expectation(channels=1, segmented=False)
    assert len(prepare_slices(slices, expectation, max_pixels=300)) == 3
    with pytest.raises(RequestError, match="instance 2 is an image of 10 x 10 pixels"):
        prepare_slices(slices, expectation, max_pixels=299)


def test_colour_stays_colour_for_a_model_of_photographs() -> None:
    photograph = np.random.default_rng(0).integers(0, 255, (12, 9, 3), dtype=np.uint8)
    slices = prepare_slices([Instance(encode_png(photograph))], Expectation(channels=3, segmented=False))
    np.testing.assert_array_equal(slices[0].pixels, photograph)
    assert slices[0].image == encode_png(photograph)


def test_a_photograph_is_prepared_as_by_ingest() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 60, 3), np.uint8))
    sink, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    image.save(sink, "JPEG", exif=exif)
    expectation = Expectation(channels=3, segmented=False, image_size=32)
    (prepared_slice,) = prepare_slices([Instance(sink.getvalue())], expectation)
    photograph_slice = read_photograph(sink.getvalue(), 32).framed
    np.testing.assert_array_equal(prepared_slice.pixels, photograph_slice)
    np.testing.assert_array_equal(decode_image(prepared_slice.image, 3), photograph_slice)
    assert prepare_slices([Instance(prepared_slice.image)], expectation)[0].image == prepared_slice.image


def test_the_pixels_of_photographs_count_before_they_are_scaled() -> None:
    photograph = Instance(encode_png(np.full((40, 50, 3), 90, np.uint8)))
    expectation = Expectation(channels=3, segmented=False, image_size=32)
    assert len(prepare_slices([photograph] * 2, expectation, max_pixels=4000)) == 2
    with pytest.raises(RequestError, match="instance 1"):
        prepare_slices([photograph] * 2, expectation, max_pixels=3999)


def prepared_size(photograph: bytes, limits: Limits) -> int:
    """Return the number of decoded pixels, 0 if the photograph is rejected."""
    expectation = Expectation(channels=3, segmented=False, image_size=32)
    try:
        return prepare_slices([Instance(photograph)], expectation, limits.max_pixels)[0].decoded_pixels
    except RequestError:
        return 0


def test_a_photograph_that_can_be_trained_can_be_asked() -> None:
    photograph = encode_png(np.zeros((6144, 8160), np.uint8))
    assert prepared_size(photograph, Limits()) == 6144 * 8160
    assert Limits().max_body_bytes > 128 * 2**20 * 4 / 3


def test_large_bodies_hold_images_and_no_millions_of_values() -> None:
    with pytest.raises(RequestError) as error:
        parse_predict(b'{"instances": [' + b"0," * (9 * 2**20) + b"0]}", Limits())
    assert error.value.status == 413
    image = b"A" * (20 * 2**20)
    request = parse_predict(b'{"instances": [{"image_bytes": {"b64": "' + image + b'"}}]}', Limits())
    assert len(request.instances[0].image) == len(image) * 3 // 4


def test_a_segmented_slice_is_forwarded_byte_for_byte(segmented_slices: list[bytes]) -> None:
    slices = prepare_slices([Instance(segmented_slices[0])], Expectation(channels=1, segmented=True))
    assert slices[0].image is segmented_slices[0]


def test_the_number_of_json_values_is_bounded_before_parsing() -> None:
    limits = Limits(max_instances=2)
    with pytest.raises(RequestError, match="9 lists and objects"):
        parse_predict(b"[" * 9, limits)


def test_a_nan_becomes_null_and_its_slice_unknown() -> None:
    values = {"species": ["a"], "confidence": [np.inf], "scores": [[np.nan, 1.0]], "embedding": np.zeros((1, 0))}
    outputs = Outputs.from_values({**values, "unknown": [False]})
    answer = encode_answer(predict_answer(outputs, columns=False, specimens={}))
    photograph_slice = b'{"species":"a","confidence":null,"scores":[null,1.0],"unknown":true,"embedding":[]}'
    assert answer == b'{"predictions":[' + photograph_slice + b"]}"
