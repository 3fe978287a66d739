"""Reads the bodies of requests within bounds: each in size and time, all together in bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from serving.protocol import Limits, RequestError

_CONTENT_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded", "text/plain", "text/json"})


class Bodies:
    """The bodies that are in memory at a time.

    They share a budget of bytes, not of requests: slow clients hold little of it and keep nobody out.

    Args:
        limits: of each body and of all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Yields a body, announced in `Content-Length` or not; it is held until the block ends.

        Raises:
            RequestError: 408 too slow, 413 too large, 415 of another type, 503 no room for it now.
        """
        _check_headers(request, self.limits)
        body = bytearray()
        try:
            await self._receive(request, body)
            yield body
        finally:
            self._held_bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray) -> None:
        try:
            async with asyncio.timeout(self.limits.read_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    self._held_bytes += len(chunk)
                    self._check_size(len(body))
        except TimeoutError as error:
            seconds = self.limits.read_timeout_s
            raise RequestError(408, f"a body that did not arrive within {seconds:g} s") from error

    def _check_size(self, size: int) -> None:
        if size > self.limits.max_body_bytes:
            raise _too_large(f"more than {self.limits.max_body_bytes}", self.limits)
        if self._held_bytes > self.limits.max_held_bytes:
            raise RequestError(503, "too many large requests at a time", "", "Ask again in a second.")


def _check_headers(request: Request, limits: Limits) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise RequestError(415, f"the content type {content_type[:64]!r}", "application/json")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise RequestError(415, f"the content encoding {encoding[:64]!r}", "none")
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > limits.max_body_bytes:
        raise _too_large(announced[:20], limits)


def _too_large(size: str, limits: Limits) -> RequestError:
    return RequestError(
        413, f"a body of {size} bytes", f"at most {limits.max_body_bytes}", "Send fewer slices in each request."
    )
