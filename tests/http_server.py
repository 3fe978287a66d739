"""An HTTP server for tests, in a thread of its own: one function answers all requests."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """A received request.

    Attributes:
        method: HTTP method.
        target: Path with the query, as received.
        headers: Header fields by name, in lower case.
        body: Body of the request.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """Path without the query."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """First value of each query parameter."""
        return {key: values[0] for key, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Response:
    """A response to send."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, document: Any, status: int = 200) -> Self:
        return cls(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


Respond = Callable[[Request], Response | None]
"""Function that answers a request; None closes the connection without an answer."""


@contextmanager
def http_server(respond: Respond, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a server on a free port of 127.0.0.1 for the block, with TLS if there is a context; yield its address."""
    handler = type("RequestHandler", (_Handler,), {"respond": staticmethod(respond)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    respond: Respond

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = self.respond(Request(self.command, self.path, headers, body))
        if response is None:
            self.close_connection = True
            return
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        try:
            self.wfile.write(response.body)
        except OSError:  # the client has closed the connection
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 (names that http.server looks for)

    def log_message(self, *_arguments: Any) -> None:
        pass
