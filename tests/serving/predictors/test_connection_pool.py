"""Kept connections end after a few seconds: a busy stream of requests reaches a new server without a failure."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

from serving.predictors.connection_pool import MAX_CONNECTION_AGE_S, ConnectionPool
from tests.http_server import Request, Response, http_server
from tests.serving.service import Service

CLIENTS = 8


@contextmanager
def named_server(name: str, delay_s: float = 0.0) -> Iterator[str]:
    """Run a server that answers with its name after a delay."""

    def respond(_: Request) -> Response:
        time.sleep(delay_s)
        return Response(200, name.encode())

    with http_server(respond) as address:
        yield address


@dataclass(frozen=True)
class Exchanged:
    """An answer with the monotonic times of its request and its arrival."""

    sent: float
    received: float
    text: str


async def ask_until(pool: ConnectionPool, end: asyncio.Event) -> list[Exchanged]:
    """Send requests one after another until an event."""
    answers = []
    while not end.is_set():
        sent = time.monotonic()
        text = (await pool.request("POST", "/predict", b"{}")).content.decode()
        answers.append(Exchanged(sent, time.monotonic(), text))
    return answers


async def exchange(
    pool: ConnectionPool, service: Service, new_address: str, wait_s: float
) -> tuple[list[Exchanged], float]:
    """Ask with several clients and meanwhile point the service to a new server; return the answers and that time."""
    end = asyncio.Event()
    clients = [asyncio.create_task(ask_until(pool, end)) for _ in range(CLIENTS)]
    await asyncio.sleep(wait_s / 2)
    exchanged_at = time.monotonic()
    service.address = new_address
    await asyncio.sleep(1.5 * wait_s)
    end.set()
    return [answer for client in clients for answer in await client], exchanged_at


@pytest.mark.parametrize("max_age_s", [0.5, pytest.param(MAX_CONNECTION_AGE_S, marks=pytest.mark.slow)])
def test_a_busy_stream_reaches_a_new_server_within_the_age(max_age_s: float) -> None:
    with named_server("old", 0.002) as old, named_server("new", 0.002) as new, Service(old) as service:
        pool = ConnectionPool(service.url, 10.0, max_age_s)
        answers, exchanged_at = asyncio.run(exchange(pool, service, new, max_age_s))
    assert len(answers) > 100
    assert {answer.text for answer in answers if answer.received < exchanged_at} == {"old"}
    assert {answer.text for answer in answers if answer.sent > exchanged_at + max_age_s} == {"new"}


def test_connections_without_an_age_stay_at_the_old_server() -> None:
    with named_server("old", 0.002) as old, named_server("new") as new, Service(old) as service:
        answers, _ = asyncio.run(exchange(ConnectionPool(service.url, 10.0, 1e9), service, new, 0.5))
    assert {answer.text for answer in answers} == {"old"}


def test_a_request_in_flight_is_finished_on_its_old_connection() -> None:
    async def ask(pool: ConnectionPool) -> list[bytes]:
        slow = asyncio.create_task(pool.request("POST", "/predict"))
        await asyncio.sleep(0.3)  # longer than the age
        fast = [await pool.request("POST", "/predict") for _ in range(2)]
        return [(await slow).content, *(answer.content for answer in fast)]

    with named_server("slow", 0.8) as address:
        assert asyncio.run(ask(ConnectionPool(address, 10.0, 0.1))) == [b"slow"] * 3


def test_replaced_connections_are_closed() -> None:
    async def ask(pool: ConnectionPool, service: Service) -> int:
        for _ in range(5):
            await asyncio.gather(*(pool.request("POST", "/predict") for _ in range(4)))
            await asyncio.sleep(0.06)
        await asyncio.sleep(0.2)
        return service.open_connections

    with named_server("a") as address, Service(address) as service:
        assert asyncio.run(ask(ConnectionPool(service.url, 10.0, 0.05), service)) <= 4
        assert service.accepted >= 10


def test_a_request_on_a_connection_that_a_pod_breaks_is_repeated() -> None:
    received: list[str] = []

    def respond(request: Request) -> Response | None:
        received.append(request.method)
        return None if len(received) == 2 else Response(200, b"answer")

    async def ask(pool: ConnectionPool) -> list[bytes]:
        return [(await pool.request("POST", "/predict")).content for _ in range(2)]

    with http_server(respond) as address:
        assert asyncio.run(ask(ConnectionPool(address, 10.0))) == [b"answer"] * 2
    assert len(received) == 3


def test_a_server_that_breaks_every_connection_is_asked_twice() -> None:
    received: list[str] = []

    def respond(request: Request) -> None:
        received.append(request.method)

    with http_server(respond) as address, pytest.raises(httpx.RemoteProtocolError):
        asyncio.run(ConnectionPool(address, 10.0).request("POST", "/predict"))
    assert len(received) == 2


def test_a_whole_request_has_one_timeout() -> None:
    stop = threading.Event()

    def respond(_: Request) -> Response:
        stop.wait(5)
        return Response(200)

    with http_server(respond) as address:
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            asyncio.run(ConnectionPool(address, 0.3).request("POST", "/predict"))
        assert time.monotonic() - start < 2
        stop.set()


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.predictors.connection_pool.MAX_ANSWER_BYTES", 2**16)
    answer = Response(200, b" " * 2**20)
    with http_server(lambda _: answer) as address, pytest.raises(httpx.TransportError, match="more than 65536 bytes"):
        asyncio.run(ConnectionPool(address, 10.0).request("GET", "/"))
