"""Connections to a predictor that are kept for a few seconds.

A Service sends only new connections to new pods: kept ones reach an old pod until its process ends, up to a minute
after a rollout. Therefore all connections are replaced once the oldest may have MAX_CONNECTION_AGE_S. The replaced
ones are closed when the last request on them has been answered, so that the exchange fails no request.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass

import httpx

MAX_CONNECTION_AGE_S = 5.0
MAX_ANSWER_BYTES = 256 * 2**20
_BROKEN_CONNECTIONS = (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)


class OversizedAnswerError(httpx.TransportError):
    """An answer of more than MAX_ANSWER_BYTES."""


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP.

    Attributes:
        status: Status code.
        content: Body of the answer.
    """

    status: int
    content: bytes


class ConnectionPool:
    """Kept connections to one address.

    Args:
        url: Address, without a path.
        timeout_s: Seconds in which a request has to be answered.
        max_age_s: Age in seconds at which connections are replaced.
    """

    def __init__(self, url: str, timeout_s: float, max_age_s: float = MAX_CONNECTION_AGE_S) -> None:
        self.url, self.timeout_s, self._max_age_s = url, timeout_s, max_age_s
        self._certificates = ssl.create_default_context()  # takes longer than a request
        self._connections = self._open()

    async def request(
        self, method: str, path: str, body: bytes | None = None, timeout_s: float | None = None
    ) -> Answer:
        """Send a request and return the whole answer.

        A request whose connection breaks is repeated once over a new connection: a pod that ends breaks its
        connections, and predictions may be repeated.

        Raises:
            httpx.TransportError: The address cannot be reached, breaks the connection twice, or answers too much.
            TimeoutError, httpx.TimeoutException: There is no answer within `timeout_s`, by default that of the pool.
        """
        async with asyncio.timeout(self.timeout_s if timeout_s is None else timeout_s):
            if time.monotonic() - self._connections.opened_at >= self._max_age_s:
                await self._replace(self._connections)
            connections = self._connections
            try:
                return await connections.send(method, path, body)
            except _BROKEN_CONNECTIONS:
                await self._replace(connections)
                return await self._connections.send(method, path, body)

    async def _replace(self, connections: "_Connections") -> None:
        """Use new connections from here on, unless these have already been replaced."""
        if connections is self._connections:
            self._connections = self._open()
            await connections.retire()

    def _open(self) -> "_Connections":
        return _Connections(self.url, self.timeout_s, self._certificates)


class _Connections:
    """Connections of about the same age.

    Attributes:
        opened_at: Monotonic time at which the first of them may have been opened.
    """

    def __init__(self, url: str, timeout_s: float, certificates: ssl.SSLContext) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,  # of each step; `ConnectionPool.request` limits the time of the whole request
            headers={"Content-Type": "application/json"},
            trust_env=False,
            verify=certificates,
        )
        self.opened_at = time.monotonic()
        self._requests, self._is_retired = 0, False

    async def send(self, method: str, path: str, body: bytes | None) -> Answer:
        """Send a request and return the whole answer; raises httpx.TransportError."""
        self._requests += 1
        try:
            async with self._client.stream(method, path, content=body) as response:
                return Answer(response.status_code, await _read_bounded(response))
        finally:
            self._requests -= 1
            await self._close_if_done()

    async def retire(self) -> None:
        """Close the connections once the last request on them has been answered."""
        self._is_retired = True
        await self._close_if_done()

    async def _close_if_done(self) -> None:
        if self._is_retired and not self._requests:
            await self._client.aclose()


async def _read_bounded(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise OversizedAnswerError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(parts)
