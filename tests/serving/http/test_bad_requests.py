"""Errors for bad requests, while other clients send good ones."""

import contextlib
import gzip
import http.client
import io
import json
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from PIL import Image

from components.shared.images.decoding import encode_png
from serving.limits import Limits
from tests.serving.traffic import resident_kib

Body = Callable[..., dict[str, Any]]
GOOD_CLIENTS = 3


@pytest.fixture(scope="module", autouse=True)
def good_traffic(server: Any, segmented_slices: list[bytes], instances_of: Body) -> Iterator[None]:
    """Send good requests during the tests of this file; check that all get the same answer."""
    body, stop_event, statuses, answers = instances_of(segmented_slices[:1]), threading.Event(), [], set()

    def send_requests() -> None:
        with httpx.Client(timeout=60) as client:
            while not stop_event.is_set():
                response = client.post(f"{server.url}/v1/models/forams:predict", json=body)
                statuses.append(response.status_code)
                answers.add(response.text)
                time.sleep(0.01)

    clients = [threading.Thread(target=send_requests) for _ in range(GOOD_CLIENTS)]
    for client in clients:
        client.start()
    yield
    stop_event.set()
    for client in clients:
        client.join()
    assert len(statuses) > GOOD_CLIENTS
    assert set(statuses) == {200}
    assert len(answers) == 1


def error_of(server: Any, content: Any, status: int, path: str = "forams:predict", **headers: str) -> str:
    """Post a body, check the status, and return the error."""
    if not isinstance(content, bytes):
        content = json.dumps(content).encode()
    response = httpx.post(f"{server.url}/v1/models/{path}", content=content, headers=headers, timeout=60)
    assert response.status_code == status, response.text[:300]
    assert set(response.json()) == {"error"}
    assert response.headers["content-type"] == "application/json"
    return str(response.json()["error"])


def png_that_promises(width: int, height: int) -> bytes:
    """Return a PNG whose header states a size and whose pixels are missing."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (header, b"IDAT" + zlib.compress(b"\0"), b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def encoded(form: str, mode: str = "L", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert(mode).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty body"),
        (b"   ", "empty body"),
        (b"image", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1]", "a JSON list"),
        (b"null", "a JSON null"),
        (b"{}", "both or neither"),
        (b'{"instances": [], "inputs": []}', "both or neither"),
        (b'{"instances": []}', "no instance"),
        (b'{"inputs": []}', "no instance"),
        (b'{"instances": {"b64": "aaaa"}}', "a JSON object"),
        (b'{"instances": [1.5]}', "instance 0 without image_bytes"),
        (b'{"instances": [NaN]}', "not JSON"),
        (b'{"signature_name": "crops", "instances": [[[[NaN]]]]}', "not JSON"),
        (b'{"signature_name": "crops", "instances": [[[[null]]]]}', "whole numbers from 0 to 255"),
        (b'{"signature_name": "crops", "instances": [[[[1e999]]]]}', "not JSON"),
        (b'{"instances": [{"image_bytes": {"b64": "aaaa"}, "mask": 1}]}', "the key 'mask'"),
        (b'{"instances": [{"image_bytes": {"b64": "aaaa"}, "specimen": 7}]}', "specimen"),
        (b'{"instances": [{"image_bytes": {"b64": "a!b?"}}]}', "that is not base64"),
        (b'{"instances": [{"image_bytes": {"b64": "data:image/png;base64,aaaa"}}]}', "after the comma"),
        (b'{"instances": [{"image_bytes": {"b64": "aaaaa"}}]}', "that is not base64"),
        (b'{"instances": [{"image_bytes": {"b64": "aaa=="}}]}', "that is not base64"),
        (b'{"instances": [{"image_bytes": {"b64": "aa=a"}}]}', "that is not base64"),
        (b'{"instances": [{"image_bytes": {"b64": "aaaa===="}}]}', "that is not base64"),
        ('{"instances": [{"image_bytes": {"b64": "aaéa"}}]}'.encode(), "that is not base64"),
        (b'{"instances": [{"image_bytes": {"b64": 7}}]}', "image"),
        (b'{"instances": [{"image_bytes": "aaaa"}]}', "a JSON string"),
        (b'{"instances": [{"image_bytes": {"b64": ""}}]}', "an empty image"),
        (b'{"instances": [{"b64": "aaaa"}], "rows": 1}', "the key 'rows'"),
        (b'{"instances": [{"b64": "aaaa"}], "signature_name": []}', "signature_name"),
        (b'{"inputs": {"image_bytes": [{"b64": "aaaa"}], "specimen": ["a", "b"]}}', "2 specimens for 1 images"),
        (b'{"inputs": {"pixels": [1, 2]}}', "image_bytes"),
    ],
)
def test_a_malformed_body_is_rejected_with_the_reason(server: Any, body: bytes, reason: str) -> None:
    assert reason in error_of(server, body, 400)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"junk" * 100, "cannot be read"),
        (encode_png(np.full((50, 50), 9, np.uint8))[:60], "cannot be read"),
        (png_that_promises(50_000, 50_000), "2500000000 pixels"),
        (png_that_promises(0, 5), "cannot be read"),
        (png_that_promises(2**31 - 1, 2**31 - 1), "an image"),
        (encoded("TIFF", save_all=True, append_images=[Image.new("L", (64, 48))]), "2 pages"),
        (encoded("GIF", save_all=True, append_images=[Image.new("L", (64, 48))]), "animated"),
    ],
)
def test_an_unusable_image_is_rejected_by_its_number(
    server: Any, image: bytes, reason: str, segmented_slices: list[bytes], instances_of: Body
) -> None:
    error = error_of(server, instances_of([segmented_slices[0], image]), 400)
    assert "instance 1" in error
    assert reason in error


@pytest.mark.parametrize(
    "image",
    [
        encoded("JPEG", "CMYK"),
        encoded("PNG", "I;16"),
        encode_png(np.full((1, 1), 200, np.uint8)),
        encode_png(np.full((1, 300), 200, np.uint8)),
        encoded("PNG", "1"),
        encoded("PNG", "LA"),
    ],
)
def test_an_unusual_image_is_answered(server: Any, image: bytes, instances_of: Body) -> None:
    response = httpx.post(f"{server.url}/v1/models/forams:predict", json=instances_of([image]), timeout=60)
    assert response.status_code == 200, response.text
    assert sum(response.json()["predictions"][0]["scores"]) == pytest.approx(1, abs=1e-5)


def test_too_many_instances_are_rejected(server: Any, instances_of: Body) -> None:
    assert "at most 256 instances" in error_of(server, instances_of([b"x"] * 10_000), 400)
    assert "300 instances" in error_of(server, instances_of([b"x"] * 300), 400)


def test_deep_json_is_rejected(server: Any) -> None:
    assert "lists and objects" in error_of(server, b'{"instances": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400)
    assert "without image_bytes" in error_of(server, b'{"instances": ' + b"[" * 500 + b"]" * 500 + b"}", 400)


def test_a_body_with_a_large_length_is_rejected_before_it_is_sent(server: Any) -> None:
    address = urlsplit(server.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=20)
    connection.putrequest("POST", "/v1/models/forams:predict")
    connection.putheader("Content-Length", str(200 * 2**20))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert "at most" in json.loads(response.read())["error"]
    connection.close()


def test_a_large_chunked_body_is_rejected_while_it_is_sent(server: Any) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((str(address.hostname), address.port or 0), timeout=60) as connection:
        thread = threading.Thread(target=send_two_hundred_megabytes, args=(connection,))
        thread.start()
        response = http.client.HTTPResponse(connection)
        response.begin()
        error = json.loads(response.read())["error"]
        connection.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert response.status == 413
    assert (
        error
        == f"a body of more than {172 * 2**20} bytes: expected at most {172 * 2**20}. Send fewer slices per request."
    )


def send_two_hundred_megabytes(connection: socket.socket) -> None:
    connection.sendall(b"POST /v1/models/forams:predict HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):  # the test has its answer and closes the connection
        for _ in range(200):
            connection.sendall(b"100000\r\n" + b" " * 2**20 + b"\r\n")


def test_another_content_type_or_encoding_is_rejected(server: Any) -> None:
    for content_type in ("image/png", "multipart/form-data; boundary=x", "Image/JPEG", "video/mp4"):
        assert "application/json" in error_of(server, b"{}", 415, **{"Content-Type": content_type})
    for encoding in ("deflate", "br", "zstd", "gzip, gzip", "gzip, br", "x"):
        assert "expected gzip or none" in error_of(server, b"{}", 415, **{"Content-Encoding": encoding})


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"\x1f\x8b",
        gzip.compress(b"{}", mtime=0)[:-4],
        gzip.compress(b"{}", mtime=0)[:-8] + b"\0" * 8,
        gzip.compress(b"{}", mtime=0) + b"rest",
        gzip.compress(b"{}", mtime=0) + gzip.compress(b"{}", mtime=0)[:12],
        zlib.compress(b"{}"),
    ],
)
def test_damaged_gzip_is_rejected_with_a_sentence(server: Any, body: bytes) -> None:
    error = error_of(server, body, 400, **{"Content-Encoding": "gzip"})
    assert "a body that is not valid gzip" in error
    assert "a body in gzip format" in error_of(server, gzip.compress(b"{}"), 400)


@pytest.mark.parametrize("members", [1, 300])
def test_a_gzip_bomb_is_rejected_while_it_is_decompressed(server: Any, members: int) -> None:
    bomb = gzip.compress(b" " * (2**30 // members)) * members
    assert len(bomb) < 2 * 2**20
    before = resident_kib(server.process.pid)
    error = error_of(server, bomb, 413, **{"Content-Encoding": "gzip"})
    assert f"expected at most {Limits().max_body_bytes}" in error
    assert resident_kib(server.process.pid) - before < 2 * Limits().max_body_bytes / 2**10


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("nothing:predict", "the model 'nothing' is not known: expected"),
        ("forams/versions/77:predict", "version 77 of forams is not loaded: expected one of [1]"),
        ("forams/versions/0x1:predict", "the version '0x1': expected a number"),
        ("..:predict", "the model '..' is not known"),
        ("%2e%2e:predict", "the model '..' is not known"),
    ],
)
def test_an_unknown_model_or_version_is_not_found(
    server: Any, path: str, reason: str, segmented_slices: list[bytes], instances_of: Body
) -> None:
    assert reason in error_of(server, instances_of(segmented_slices[:1]), 404, path)


@pytest.mark.parametrize("path", ["nothing", "forams/versions/77", "forams/versions/x", "nothing/metadata", "a/b/c"])
def test_the_status_of_an_unknown_model_or_version_is_not_found(server: Any, path: str) -> None:
    response = httpx.get(f"{server.url}/v1/models/{path}")
    assert response.status_code == 404
    assert response.json()["error"]


def test_a_version_label_is_rejected_as_by_tensorflow_serving(
    server: Any, segmented_slices: list[bytes], instances_of: Body
) -> None:
    reason = "Unrecognized servable version label: stable: expected /versions/<number>"
    assert error_of(server, instances_of(segmented_slices[:1]), 400, "forams/labels/stable:predict") == reason
    for path in ("forams/labels/stable", "forams/labels/stable/metadata"):
        response = httpx.get(f"{server.url}/v1/models/{path}")
        assert (response.status_code, response.json()) == (400, {"error": reason})


def test_an_unknown_signature_is_rejected(server: Any, segmented_slices: list[bytes], instances_of: Body) -> None:
    body = {"signature_name": "classify", **instances_of(segmented_slices[:1])}
    assert "serving_default" in error_of(server, body, 400)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/forams/unload"),
        ("POST", "/v2/models/forams/infer"),
        ("POST", "/v1/models/forams:explain"),
        ("GET", "/v1/models/forams:explain"),
        ("POST", "//v1/models/forams:predict"),
        ("POST", "/v1//models/forams:predict"),
        ("POST", "/v1/models/forams/:predict"),
        ("POST", "/v1/models/forams:predict/"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/%0A0"),
        ("POST", "/v2/models/%0A/infer"),
    ],
)
def test_unknown_paths_are_not_found(server: Any, method: str, path: str) -> None:
    response = httpx.request(method, server.url + path)
    assert response.status_code == 404, response.text
    assert response.json()["error"]


@pytest.mark.parametrize("path", ["forams", "forams/versions/1", "forams/labels/stable", "nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_a_predict_path_names_the_method_that_it_expects(server: Any, method: str, path: str) -> None:
    response = httpx.request(method, f"{server.url}/v1/models/{path}:predict")
    assert (response.status_code, response.headers.get("allow")) == (405, "POST")
    if method != "HEAD":
        assert f"{method} /v1/models/{path}:predict: expected POST. Use POST" in response.json()["error"]


@pytest.mark.parametrize(
    "path", ["/v1/models", "/v1/models/forams", "/v1/models/forams/metadata", "/readyz", "/metrics"]
)
def test_a_path_of_reports_names_the_methods_that_it_has(server: Any, path: str) -> None:
    for method in ("POST", "DELETE"):
        response = httpx.request(method, server.url + path)
        assert (response.status_code, response.headers.get("allow")) == (405, "GET, HEAD")
        assert "POST /v1/models/<model>:predict" in response.json()["error"]


def test_a_client_that_disconnects_does_no_harm(server: Any) -> None:
    address = urlsplit(server.url)
    for part in (
        b"POST /v1/models/forams:predict HTTP/1.1\r\nContent-Length: 900\r\n\r\n{",
        b"POST /v1",
        b"\0\xff\r\n\r\n",
    ):
        with socket.create_connection((str(address.hostname), address.port or 0), timeout=10) as connection:
            connection.sendall(part)
    assert httpx.get(f"{server.url}/readyz").status_code == 200
