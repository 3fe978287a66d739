"""Clients that send slowly, endlessly or nothing: the server closes their connections and answers the others."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Router

from serving.http.bodies import BodyReader
from serving.http.connections import connection_class
from serving.http.responses import json_response
from serving.limits import Limits
from serving.protocol import RequestError

LIMITS = Limits(head_timeout_s=1.5, read_timeout_s=1.0, max_head_bytes=2_000, max_body_bytes=10_000)
HEAD = b"POST /v1/models/forams:predict HTTP/1.1\r\nHost: here\r\n"
TIMEOUT_S = 30
LARGE = 20_000_000
Connect = Callable[[], socket.socket]


async def count_bytes(request: Request) -> Response:
    """Answer with the length of the body, the error, or more bytes than the kernel buffers."""
    if request.url.path == "/large":
        return Response(b"x" * LARGE)
    try:
        async with BodyReader(LIMITS).read(request) as body:
            return json_response({"bytes": len(body)})
    except RequestError as error:
        return json_response({"error": str(error)}, error.status)


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    """Serve `count_bytes` with short limits; yield host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    application = Router()
    application.add_route("/{path:path}", count_bytes, ["POST"])
    config = uvicorn.Config(application, http=connection_class(LIMITS), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[:2]
    server.should_exit = True
    thread.join()


@pytest.fixture
def connect(address: tuple[str, int]) -> Iterator[Connect]:
    connections: list[socket.socket] = []

    def open_connection() -> socket.socket:
        connections.append(socket.create_connection(address, timeout=TIMEOUT_S))
        return connections[-1]

    yield open_connection
    for connection in connections:
        connection.close()


def rest_of(connection: socket.socket) -> bytes:
    """Return all bytes that the server sends before it closes the connection."""
    received_bytes = b""
    try:
        while chunk := connection.recv(65_536):
            received_bytes += chunk
    except ConnectionResetError:
        pass
    return received_bytes


def error_of(received_bytes: bytes) -> tuple[int, str]:
    head, _, body = received_bytes.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def drip(connection: socket.socket, pieces: Iterator[bytes]) -> None:
    """Send a piece every twentieth of a second until the server closes the connection."""
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.05)
    except OSError:
        pass


def test_endless_headers_time_out_even_if_bytes_keep_arriving(connect: Connect) -> None:
    connection = connect()
    connection.sendall(HEAD)
    thread = threading.Thread(target=drip, args=(connection, (b"x" for _ in range(TIMEOUT_S * 20))))
    thread.start()
    status, error = error_of(rest_of(connection))
    connection.close()
    thread.join()
    assert status == 408
    assert "head did not arrive within 1.5 s" in error


def test_a_silent_connection_is_closed(connect: Connect) -> None:
    assert rest_of(connect()) == b""


def test_each_request_on_a_connection_has_its_own_timeout(connect: Connect) -> None:
    connection = connect()
    for _ in range(3):
        time.sleep(0.6)
        connection.sendall(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert b'{"bytes":2}' in connection.recv(65_536)
    connection.sendall(b"POST")
    assert error_of(rest_of(connection))[0] == 408


def test_headers_that_are_too_large_are_rejected(connect: Connect) -> None:
    connection = connect()
    connection.sendall(HEAD + b"X: " + b"y" * 5_000)
    status, error = error_of(rest_of(connection))
    assert status == 431
    assert "at most 2000" in error


def test_a_large_body_does_not_count_as_a_head(connect: Connect) -> None:
    connection = connect()
    connection.sendall(HEAD + b"Content-Length: 9000\r\n\r\n" + b"x" * 9_000)
    assert b'{"bytes":9000}' in connection.recv(65_536)


def test_a_slow_body_gets_408_and_its_connection_is_closed(connect: Connect) -> None:
    connection = connect()
    connection.sendall(HEAD + b"Content-Length: 9000\r\n\r\n")
    thread = threading.Thread(target=drip, args=(connection, (b"x" for _ in range(TIMEOUT_S * 20))))
    thread.start()
    status, error = error_of(rest_of(connection))
    connection.close()
    thread.join()
    assert status == 408
    assert "body that did not arrive within 1 s" in error


def test_a_rejected_body_is_read_until_the_client_has_the_error(connect: Connect) -> None:
    connection = connect()
    connection.sendall(HEAD + b"Content-Length: 20000\r\n\r\n" + b"x" * 15_000)
    assert error_of(rest_of(connection))[0] == 413


@pytest.mark.parametrize("piece", [b"a: b\r\n", b"x"])
def test_trailer_fields_of_a_chunked_body_are_bounded(connect: Connect, piece: bytes) -> None:
    connection = connect()
    connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    with contextlib.suppress(OSError):
        connection.sendall(b"a: " + piece * 2_000_000)
    status, error = error_of(rest_of(connection))
    assert status == 431
    assert "at most 2000" in error


def test_trailer_fields_of_a_chunked_body_are_not_headers(connect: Connect) -> None:
    connection = connect()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    connection.sendall(HEAD + chunks + b"Content-Type: image/png\r\n\r\n")
    assert b'{"bytes":2}' in connection.recv(65_536)


def test_a_connection_with_an_unread_answer_is_aborted(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"POST /large HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n")
    time.sleep(2 * LIMITS.head_timeout_s + 1)
    assert len(rest_of(connection)) < LARGE


def test_a_client_that_reads_slowly_gets_its_whole_answer(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"POST /large HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    received_bytes = 0
    for _ in range(6):
        received_bytes += len(connection.recv(2_000_000, socket.MSG_WAITALL))
        time.sleep(0.4 * LIMITS.head_timeout_s)
    assert received_bytes + len(rest_of(connection)) > LARGE


def test_bytes_that_are_not_http_get_a_json_error(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"HELLO\r\n\r\n")
    assert error_of(rest_of(connection)) == (400, "Invalid HTTP request received: expected HTTP/1.1")


def test_slow_clients_do_not_block_others(address: tuple[str, int], connect: Connect) -> None:
    for _ in range(50):
        connect().sendall(HEAD)
    for _ in range(20):
        assert httpx.post(f"http://127.0.0.1:{address[1]}/x", content=b"{}").json() == {"bytes": 2}


def descriptors(server: Any) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


def test_idle_connections_are_bounded_and_do_not_block_others(
    start_server: Any, server: Any, segmented_slices: list[bytes], instances_of: Any
) -> None:
    bounded = start_server(server.repository, "--max-connections", "40")
    where, before = urlsplit(bounded.url), descriptors(bounded)
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            connection = stack.enter_context(socket.create_connection((str(where.hostname), where.port or 0)))
            connection.sendall(HEAD[:9])
        time.sleep(2)
        assert descriptors(bounded) <= before + 40 + 32
        assert httpx.get(f"{bounded.url}/v2/health/ready", timeout=5).status_code == 200
        body = instances_of(segmented_slices[:1])
        assert httpx.post(f"{bounded.url}/v1/models/forams:predict", json=body, timeout=30).status_code == 200


def test_health_is_answered_while_every_connection_is_busy(start_server: Any, server: Any) -> None:
    bounded = start_server(server.repository, "--max-connections", "20")
    where = urlsplit(bounded.url)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection((str(where.hostname), where.port or 0)))
            connection.sendall(HEAD + b"Content-Length: 9000\r\n\r\n{")
        time.sleep(2)
        for path in ("/healthz", "/readyz", "/v2/health/live", "/metrics?name=x"):
            assert httpx.get(bounded.url + path, timeout=5).status_code == 200
        response = httpx.post(f"{bounded.url}/v1/models/forams:predict", content=b"x" * 100_000, timeout=5)
        assert (response.status_code, response.headers.get("retry-after")) == (503, "1")
        assert "20 connections with requests in progress" in response.json()["error"]
        for _ in range(40):
            connection = stack.enter_context(socket.create_connection((str(where.hostname), where.port or 0)))
        refusal = http.client.HTTPResponse(connection)
        connection.settimeout(5)
        refusal.begin()
        assert (refusal.status, refusal.headers.get("retry-after")) == (503, "1")
    assert httpx.get(f"{bounded.url}/v1/models", timeout=30).status_code == 200


@pytest.mark.slow
def test_the_real_server_closes_a_connection_without_a_head(server: Any) -> None:
    where = urlsplit(server.url)
    with socket.create_connection((str(where.hostname), where.port or 0), timeout=TIMEOUT_S) as connection:
        connection.sendall(HEAD)
        assert error_of(rest_of(connection))[0] == 408
