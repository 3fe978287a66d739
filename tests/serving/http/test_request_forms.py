"""Harmless forms of a request, which TensorFlow Serving answers."""

import base64
import gzip
import json
from typing import Any

import httpx
import numpy as np
import pytest


def predict(server: Any, body: Any, path: str = "forams:predict", **options: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/models/{path}", json=body, timeout=60, **options)


@pytest.fixture(scope="module")
def scores(segmented_slices: list[bytes], reference: Any) -> Any:
    """Return the scores of the first slice."""
    return reference[1](segmented_slices[:1])["scores"][0]


@pytest.mark.parametrize(
    "form",
    [
        "{standard}",
        "{mime}",
        "{windows}",
        " \t{standard}\n",
        "{unpadded}",
        "{url_safe}",
        "{url_safe_unpadded}",
        "{url_safe_lines}",
    ],
)
def test_base64_of_every_encoder_is_decoded(server: Any, segmented_slices: list[bytes], scores: Any, form: str) -> None:
    slice_bytes = padded(segmented_slices[0])
    standard, url_safe = base64.b64encode(slice_bytes).decode(), base64.urlsafe_b64encode(slice_bytes).decode()
    assert {"-", "_"} <= set(url_safe)
    assert standard.endswith("=")
    text = form.format(
        standard=standard,
        mime=base64.encodebytes(slice_bytes).decode(),
        windows="\r\n".join(standard[start : start + 64] for start in range(0, len(standard), 64)),
        unpadded=standard.rstrip("="),
        url_safe=url_safe,
        url_safe_unpadded=url_safe.rstrip("="),
        url_safe_lines="\n".join(url_safe[start : start + 76] for start in range(0, len(url_safe), 76)),
    )
    response = predict(server, {"instances": [{"image_bytes": {"b64": text}}]})
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["predictions"][0]["scores"], scores, atol=1e-5)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity, gzip"])
def test_a_gzip_body_is_answered(
    server: Any, segmented_slices: list[bytes], scores: Any, instances_of: Any, encoding: str
) -> None:
    body = json.dumps(instances_of(segmented_slices[:1])).encode()
    compressed = gzip.compress(body[:1000]) + gzip.compress(b"") + gzip.compress(body[1000:])
    url, headers = f"{server.url}/v1/models/forams:predict", {"Content-Encoding": encoding}
    pieces = (compressed[start : start + 7] for start in range(0, len(compressed), 7))
    for content in (gzip.compress(body), compressed, pieces):
        response = httpx.post(url, content=content, headers=headers, timeout=60)
        assert response.status_code == 200, response.text
        np.testing.assert_allclose(response.json()["predictions"][0]["scores"], scores, atol=1e-5)


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_body_without_encoding_is_read_as_it_is(
    server: Any, segmented_slices: list[bytes], instances_of: Any, encoding: str
) -> None:
    body = instances_of(segmented_slices[:1])
    assert predict(server, body, headers={"Content-Encoding": encoding}).status_code == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/octet-stream",
        "application/vnd.api+json",
        "application/x-ndjson",
        "text/html",
        "json",
        "",
        None,
    ],
)
def test_the_content_type_of_a_json_body_does_not_matter(
    server: Any, segmented_slices: list[bytes], scores: Any, instances_of: Any, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    content = json.dumps(instances_of(segmented_slices[:1])).encode()
    response = httpx.post(f"{server.url}/v1/models/forams:predict", content=content, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    np.testing.assert_allclose(response.json()["predictions"][0]["scores"], scores, atol=1e-5)


@pytest.mark.parametrize("signature", [{}, {"signature_name": ""}, {"signature_name": "serving_default"}])
def test_every_form_of_the_inputs_gets_the_same_answer(
    server: Any, segmented_slices: list[bytes], scores: Any, signature: dict[str, str]
) -> None:
    image = {"b64": base64.b64encode(segmented_slices[0]).decode()}
    columns: list[Any] = [image, [image], {"image_bytes": image}, {"image_bytes": [image]}]
    for inputs in columns:
        outputs = predict(server, {"inputs": inputs, **signature}).json()["outputs"]
        np.testing.assert_allclose(outputs["scores"], [scores], atol=1e-5)
    for row in (image, {"image_bytes": image}):
        predictions = predict(server, {"instances": [row], **signature}, "forams/versions/1:predict").json()
        np.testing.assert_allclose(predictions["predictions"][0]["scores"], scores, atol=1e-5)


def padded(content: bytes) -> bytes:
    """Return a PNG with bytes after its end that need every character of the alphabet, and padding."""
    rest = b"\xfb\xff\xbf" * 4
    return content + rest + b"x" * (1 + -len(content) % 3)
