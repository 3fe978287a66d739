"""Connections that end by themselves where a client is too slow, says too much beside its body, or does not read.

uvicorn bounds neither the time nor the size of a request's head, nor the fields behind a body in chunks, reads for ever
what a refused client still sends, and waits for ever for one that does not take its answer.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.protocol import Limits, RequestError, encode_answer

_PHRASES = {400: b"Bad Request", 408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class BoundedConnection(HttpToolsProtocol):
    """uvicorn's connection, with limits for each request's head, for what follows an answer, and for taking it."""

    limits = Limits()
    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _bytes_beside_bodies = 0
    _body_is_arriving = False
    _head_is_arriving = False
    _body_is_complete = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no more."""
        self._stop_waiting()
        self._stop_waiting_for_the_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what arrived; 431 for a head, or for fields behind a body in chunks, that do not end."""
        self._body_is_arriving = False
        super().data_received(data)
        counts = (self._head_is_arriving or not self._body_is_complete) and not self._body_is_arriving
        self._bytes_beside_bodies = self._bytes_beside_bodies + len(data) if counts else 0
        most = self.limits.max_head_bytes
        if self._bytes_beside_bodies > most:
            self._refuse(RequestError(431, f"a request's head of more than {most} bytes", f"at most {most}"))

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP as all that is refused."""
        self._refuse(RequestError(400, msg.rstrip("."), "HTTP/1.1"))

    def on_message_begin(self) -> None:
        """Begins to wait for the rest of a request's head."""
        super().on_message_begin()
        self._head_is_arriving = True
        self._wait()

    def on_headers_complete(self) -> None:
        """Leaves the body to `serving.http.bodies`, which has a time limit of its own."""
        self._head_is_arriving = self._body_is_complete = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a field of the head; those behind a body in chunks are for nobody here."""
        if self._head_is_arriving:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Takes a part of the body."""
        self._body_is_arriving = True
        super().on_body(body)

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

    def pause_writing(self) -> None:
        """Begins to look whether the client reads its answer: uvicorn waits for ever."""
        super().pause_writing()
        self._wait_for_the_reader()

    def resume_writing(self) -> None:
        """Knows that it does."""
        super().resume_writing()
        self._stop_waiting_for_the_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Ends a connection that is used no more."""
        self._leave()

    def _wait_for_the_reader(self) -> None:
        self._stop_waiting_for_the_reader()
        unread = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(self.limits.head_timeout_s, self._end_unread, unread)

    def _stop_waiting_for_the_reader(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _end_unread(self, unread: int) -> None:
        """Ends a connection of whose answer nothing was read meanwhile."""
        if self.transport.get_write_buffer_size() < unread:
            self._wait_for_the_reader()
        else:
            self.transport.abort()

    def _leave(self) -> None:
        """Ends the connection; a plain end would wait until the client has read everything."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

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
            self._leave()

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
