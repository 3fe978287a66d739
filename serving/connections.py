"""Connections that end by themselves where a client is too slow or says too much before its request begins.

uvicorn bounds neither the time nor the size of a request's head, and reads for ever what a refused client still sends.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.protocol import Limits, RequestError, encode_answer

_PHRASES = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, with a time limit for each request's head and for what follows an answer."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _head_is_arriving = False
    _body_is_complete = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what arrived; 431 for a head that does not end."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._head_is_arriving else 0
        most = self.limits.max_head_bytes
        if self._head_bytes > most:
            self._refuse(RequestError(431, f"a request's head of more than {most} bytes", f"at most {most}"))

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a request's head."""
        super().on_message_begin()
        self._head_is_arriving = True
        self._wait()

    def on_headers_complete(self) -> None:
        """Leaves the body to `serving.bodies`, which has a time limit of its own."""
        self._head_is_arriving = self._body_is_complete = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Notes that the client has said all."""
        self._body_is_complete = True
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Waits for the rest of a request that was answered before its end."""
        super().on_response_complete()
        if not self._body_is_complete and self.cycle.response_complete:
            self._wait()

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(self.limits.head_timeout_s, self._end)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        """Ends the connection, unless an answer to the request before is still on its way."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait()
        elif self._head_is_arriving:
            seconds = self.limits.head_timeout_s
            self._refuse(RequestError(408, f"a request whose head did not arrive within {seconds:g} s"))
        else:
            self.transport.close()

    def _refuse(self, error: RequestError) -> None:
        if self.transport.is_closing():
            return
        content = encode_answer({"error": str(error)})
        head = b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(head % (error.status, _PHRASES[error.status], len(content)) + content)
        self.transport.close()


def connections_within(limits: Limits) -> type[BoundedConnection]:
    """Returns the class of connections with these limits, as uvicorn makes them."""
    return type("LimitedConnection", (BoundedConnection,), {"limits": limits})
