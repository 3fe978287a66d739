"""Request bodies with limits: size and time of each, and bytes of all together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from serving.http.content_encoding import GzipDecoder, is_gzip
from serving.limits import Limits
from serving.protocol import RequestError

_OTHER_CONTENT_TYPES = ("image/", "audio/", "video/", "multipart/")
"""Types that never hold a JSON document. TensorFlow Serving ignores the type, and many clients do not set it."""


class BodyReader:
    """A reader of bodies that counts the bytes of all bodies in memory.

    The bodies share a budget of bytes, not of requests, so that slow clients, which hold few bytes, block no other.

    Args:
        limits: Limits of one body and of all bodies.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._held_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """Yield a body, with or without `Content-Length` and gzip; its bytes count until the block ends.

        Raises:
            RequestError: 400 for damaged gzip, 408 for a slow body, 413 for a large one, 415 for another type or
                encoding, 503 for an exhausted budget.
        """
        _check_headers(request, self.limits)
        decoder = GzipDecoder() if is_gzip(request.headers.get("content-encoding", "")) else None
        body = bytearray()
        try:
            await self._receive(request, body, decoder)
            yield body
        finally:
            self._held_bytes -= len(body)

    async def _receive(self, request: Request, body: bytearray, decoder: GzipDecoder | None) -> None:
        received_bytes = 0
        try:
            async with asyncio.timeout(self.limits.read_timeout_s):
                async for chunk in request.stream():
                    received_bytes += len(chunk)
                    self._check_size(received_bytes)
                    for piece in decoder.decode(chunk) if decoder else (chunk,):
                        body += piece
                        self._held_bytes += len(piece)
                        self._check_size(len(body))
            if decoder:
                decoder.finish()
        except TimeoutError as error:
            seconds = self.limits.read_timeout_s
            raise RequestError(
                408, f"a body that did not arrive within {seconds:g} s", "", "Send fewer slices per request."
            ) from error

    def _check_size(self, size: int) -> None:
        if size > self.limits.max_body_bytes:
            raise _too_large(f"more than {self.limits.max_body_bytes}", self.limits)
        if self._held_bytes > self.limits.max_held_bytes:
            raise RequestError(503, "too many large requests at a time", "", "Retry in a second.")


def _check_headers(request: Request, limits: Limits) -> None:
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type.startswith(_OTHER_CONTENT_TYPES):
        remedy = "Send the image file in base64 in a JSON document."
        raise RequestError(415, f"the content type {content_type[:64]!r}", "application/json", remedy)
    declared_length = request.headers.get("content-length", "0")
    if declared_length.isdecimal() and int(declared_length[:20]) > limits.max_body_bytes:
        raise _too_large(declared_length[:20], limits)


def _too_large(size: str, limits: Limits) -> RequestError:
    return RequestError(
        413, f"a body of {size} bytes", f"at most {limits.max_body_bytes}", "Send fewer slices per request."
    )
