"""Fuzzed requests: none of them gets a 5xx."""

import base64
import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.shared.images.decoding import encode_png

KEYS = st.sampled_from(["instances", "inputs", "signature_name", "image_bytes", "b64", "specimen"]) | st.text(
    max_size=8
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)
SEGMENTS = st.sampled_from(
    ["v1", "v2", "models", "forams", "versions", "1", "metadata", "infer", "forams:predict", ".."]
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
PREDICT = "/v1/models/forams:predict"
FUZZED = settings(deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """Return an image with some bytes changed, perhaps truncated."""
    image = bytearray(original)
    for _ in range(draw(st.integers(1, 8))):
        image[draw(st.integers(0, len(image) - 1))] = draw(st.integers(0, 255))
    return bytes(image[: draw(st.integers(1, len(image)))])


def small_image(raw_slice: bytes) -> bytes:
    import cv2
    import numpy as np

    return encode_png(cv2.resize(cv2.imdecode(np.frombuffer(raw_slice, np.uint8), cv2.IMREAD_GRAYSCALE), (24, 20)))


def fuzz(server: Any, raw_slice: bytes, cases: int) -> dict[int, int]:
    """Send bad documents, damaged images and random paths, a third each; return the count of each status."""
    statuses: dict[int, int] = {}
    with httpx.Client(timeout=60) as client:

        def send(method: str, path: str, content: bytes | None = None, headers: dict[str, str] | None = None) -> None:
            response = client.request(method, server.url + path, content=content, headers=headers)
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            assert response.status_code < 500, response.text
            if response.status_code >= 400 and method != "HEAD":
                assert response.json()["error"]

        @settings(FUZZED, max_examples=cases // 3)
        @given(DOCUMENTS)
        def send_documents(document: Any) -> None:
            send("POST", PREDICT, json.dumps(document).encode())

        @settings(FUZZED, max_examples=cases // 3)
        @given(damaged(small_image(raw_slice)))
        def send_images(image: bytes) -> None:
            instance = {"image_bytes": {"b64": base64.b64encode(image).decode()}}
            send("POST", PREDICT, json.dumps({"instances": [instance]}).encode())

        @settings(FUZZED, max_examples=cases // 3)
        @given(METHODS, st.lists(SEGMENTS | st.text(max_size=6), max_size=6), st.binary(max_size=40))
        def send_paths(method: str, segments: list[str], body: bytes) -> None:
            send(method, "/" + "/".join(quote(segment, safe=":") for segment in segments), body)

        send_documents()
        send_images()
        send_paths()
    return statuses


def test_a_hundred_and_fifty_fuzzed_requests_get_no_5xx(server: Any, raw_slices: list[bytes]) -> None:
    statuses = fuzz(server, raw_slices[0], 150)
    assert {200, 400, 404} <= set(statuses)


@pytest.mark.slow
def test_two_thousand_fuzzed_requests_get_no_5xx(server: Any, raw_slices: list[bytes]) -> None:
    assert sum(fuzz(server, raw_slices[0], 2_000).values()) > 1_500
