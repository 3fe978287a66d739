"""Connections with limits for clients that send too slowly, send too much outside of a body, or do not read.

uvicorn limits neither the time nor the size of a request's head, nor the trailer fields of a chunked body. It has no
timeout for the rest of a rejected body, and none for a client that does not read its answer.
"""

import asyncio
from collections.abc import Iterable
from operator import attrgetter

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.http.capacity import SURPLUS_CONNECTIONS
from serving.http.report_paths import REPORT_PATHS
from serving.http.responses import error_response
from serving.limits import Limits
from serving.protocol import RequestError

_SHORTEST_WAIT_S = 1.0
"""Seconds for which a connection may wait for a request before it is closed for a new connection."""
_REASON_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection with limits for heads, for the rest of rejected bodies, and for unread answers."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _bytes_outside_bodies = 0
    _body_is_arriving = False
    _head_is_arriving = False
    _body_is_complete = True
    _is_surplus = False
    waiting_since = 0.0
    """Time of the event loop at which the connection began to wait for a request."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request; if there are too many connections, close one that waits."""
        super().connection_made(transport)
        self.waiting_since = self.loop.time()
        self._start_timer()
        excess = len(self.connections) - self.limits.max_connections
        if excess > 0 and not _close_oldest_waiting(self.connections, self.loop.time() - _SHORTEST_WAIT_S):
            self._is_surplus = True
            if excess > SURPLUS_CONNECTIONS:
                self._reject(self._busy_error())

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._stop_timer()
        self._stop_reader_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; answer 431 if a head, or the trailer of a chunked body, is too large."""
        self._body_is_arriving = False
        super().data_received(data)
        is_outside_body = (self._head_is_arriving or not self._body_is_complete) and not self._body_is_arriving
        self._bytes_outside_bodies = self._bytes_outside_bodies + len(data) if is_outside_body else 0
        limit = self.limits.max_head_bytes
        if self._bytes_outside_bodies > limit:
            problem = f"a request's head of more than {limit} bytes"
            self._reject(RequestError(431, problem, f"at most {limit}", "Send fewer or shorter headers."))

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP in the format of all errors."""
        self._reject(RequestError(400, msg.rstrip("."), "HTTP/1.1"))

    def on_message_begin(self) -> None:
        """Start the timer of a request's head."""
        super().on_message_begin()
        self._head_is_arriving = True
        self._start_timer()

    def on_headers_complete(self) -> None:
        """Stop the timer of the head; `serving.http.bodies` has the timeout of the body."""
        self._head_is_arriving = self._body_is_complete = False
        self._stop_timer()
        is_busy = self._is_surplus and len(self.connections) > self.limits.max_connections
        is_refused = is_busy and self.url.partition(b"?")[0].decode("latin-1") not in REPORT_PATHS
        self.app = self._answer_busy if is_refused else self.config.loaded_app
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Accept a header field; ignore the trailer fields of a chunked body."""
        if self._head_is_arriving:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Accept a part of the body."""
        self._body_is_arriving = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop the timer: the request is complete."""
        self._body_is_complete = True
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the timer of the rest of a request that was answered before its end."""
        super().on_response_complete()
        self.waiting_since = self.loop.time()
        if not self._body_is_complete and self.cycle.response_complete:
            self._start_timer()

    def pause_writing(self) -> None:
        """Start the read timeout: the client does not read its answer, and uvicorn would wait without limit."""
        super().pause_writing()
        self._start_reader_timer()

    def resume_writing(self) -> None:
        """Cancel the read timeout: the client is reading again."""
        super().resume_writing()
        self._stop_reader_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection."""
        self._close()

    @property
    def is_waiting(self) -> bool:
        """Return whether no request is in progress: none has begun, or only a part of its head has arrived."""
        return (self._head_is_arriving or self._body_is_complete) and (
            self.cycle is None or self.cycle.response_complete
        )

    def make_room(self) -> None:
        """Close the connection, which waits for a request, for a new one."""
        self.connections.discard(self)
        self._stop_timer()
        self._close()

    def _busy_error(self) -> RequestError:
        return RequestError(
            503, f"{self.limits.max_connections} connections with requests in progress", "", "Retry in a second."
        )

    async def _answer_busy(self, scope: Scope, receive: Receive, send: Send) -> None:
        await error_response(self._busy_error())(scope, receive, send)

    def _start_reader_timer(self) -> None:
        self._stop_reader_timer()
        unread_bytes = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.limits.head_timeout_s, self._on_reader_timeout, unread_bytes)

    def _stop_reader_timer(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _on_reader_timeout(self, unread_bytes: int) -> None:
        """Abort the connection if the client has read no byte of its answer since the timer started."""
        if self.transport.get_write_buffer_size() < unread_bytes:
            self._start_reader_timer()
        else:
            self.transport.abort()

    def _close(self) -> None:
        """Close the connection; abort it if bytes are unread, because closing would wait for the client."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _start_timer(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(self.limits.head_timeout_s, self._on_timeout)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        """Close the connection, unless the answer to the previous request is still being sent."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._start_timer()
        elif self._head_is_arriving:
            seconds = self.limits.head_timeout_s
            self._reject(RequestError(408, f"a request whose head did not arrive within {seconds:g} s"))
        else:
            self._close()

    def _reject(self, error: RequestError) -> None:
        if self.transport.is_closing():
            return
        response = error_response(error)
        headers = [*response.raw_headers, (b"connection", b"close")]
        lines = [b"HTTP/1.1 %d %s" % (error.status, _REASON_PHRASES[error.status])]
        lines += [b"%s: %s" % header for header in headers]
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + response.body)
        self.transport.close()


def _close_oldest_waiting(connections: Iterable[object], latest: float) -> bool:
    """Close the connection that has waited longest for a request; return False if none has waited since `latest`."""
    candidates = [
        connection
        for connection in connections
        if isinstance(connection, BoundedConnection) and connection.is_waiting and connection.waiting_since <= latest
    ]
    if not candidates:
        return False
    min(candidates, key=attrgetter("waiting_since")).make_room()
    return True


def connection_class(limits: Limits) -> type[BoundedConnection]:
    """Return a connection class with these limits, which uvicorn instantiates per connection."""
    return type("LimitedConnection", (BoundedConnection,), {"limits": limits})
