"""The HTTP server of the monitor: status page (`/`), Prometheus metrics (`/metrics`), reports (`/reports/`), probes.

`/healthz` answers 200 as long as the process serves. `/readyz` answers 503 while no model is monitored: a cluster uses
`/healthz` as its readiness probe, because the page that gives the reason must stay reachable.
"""

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from components.shared.errors import BadConfigError
from monitoring.config import MonitorConfig
from monitoring.drift.sentences import describe_waiting
from monitoring.drift.status import MonitorStatus
from monitoring.service.metrics import DriftCollector
from monitoring.service.page import REPORTS, status_page

REFRESH_S, IDLE_TIMEOUT_S = 10, 10.0
MAX_CONNECTIONS = 64
"""Most connections; a further one replaces one that is older than IDLE_TIMEOUT_S, or gets 503."""
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_REPORT = re.compile(r"(report-[^/\\\0]+|latest)\.html")
_HTML = ("Content-Type", "text/html; charset=utf-8")
_NOSNIFF = ("X-Content-Type-Options", "nosniff")


class MonitorApp:
    """The WSGI application.

    Args:
        status: Function that returns the current status.
        config: Configuration of the monitor.
    """

    def __init__(self, status: Callable[[], MonitorStatus], config: MonitorConfig) -> None:
        self._status, self._config = status, config
        registry = CollectorRegistry()
        registry.register(DriftCollector(status, config))
        self._metrics: WSGIApplication = make_wsgi_app(registry)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Handle a request; answer an unknown path with 404."""
        path = unquote(str(environ.get("PATH_INFO", "/")))
        if path == "/metrics":
            return self._metrics(environ, start)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _text_response("405 Method Not Allowed", "Only GET is allowed.", start)
        if path in ("", "/"):
            page = status_page(self._status(), self._config)
            start("200 OK", [_HTML, _NOSNIFF, ("Refresh", str(REFRESH_S)), ("Cache-Control", "no-store")])
            return [page.encode()]
        if path == "/healthz":
            return _text_response("200 OK", "The monitor runs.", start)
        if path == "/readyz":
            sentence = describe_waiting(self._status())
            status = "503 Service Unavailable" if sentence else "200 OK"
            return _text_response(status, sentence or "A model is monitored.", start)
        if path.startswith(REPORTS):
            return self._report(path.removeprefix(REPORTS), start)
        return _text_response("404 Not Found", "Try /, /metrics or /reports/latest.html.", start)

    def _report(self, name: str, start: StartResponse) -> Iterable[bytes]:
        path = self._config.out / name
        try:
            content = path.read_bytes() if _REPORT.fullmatch(name) else None
        except OSError:
            content = None
        if content is None:
            sentence = "There is no such report: it is not written yet, or it was deleted to save space. See /."
            return _text_response("404 Not Found", sentence, start)
        start("200 OK", [_HTML, _NOSNIFF])
        return [content]


class RequestHandler(WSGIRequestHandler):
    """A request handler that logs nothing and disconnects idle clients."""

    timeout = IDLE_TIMEOUT_S

    def log_message(self, format: str, *_arguments: Any) -> None:  # noqa: A002 the name is that of the base class
        """Log nothing."""


class _Server(ThreadingWSGIServer):
    """A server with one thread per client, for a bounded number of clients, that ignores clients that disconnect."""

    request_queue_size = 2 * MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._opened_at: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(*arguments, **options)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a client in a thread, or with 503 if there are too many."""
        with self._lock:
            has_room = len(self._opened_at) < MAX_CONNECTIONS or self._close_oldest()
            if has_room:
                self._opened_at[request] = time.monotonic()
        if has_room:
            super().process_request(request, client_address)
            return
        with suppress(OSError):
            request.settimeout(0)
            request.send(_BUSY)
        self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        with self._lock:
            self._opened_at.pop(request, None)
        super().shutdown_request(request)

    def _close_oldest(self) -> bool:
        """End the oldest connection if it is older than IDLE_TIMEOUT_S; its thread then closes it."""
        oldest = min(self._opened_at, key=self._opened_at.__getitem__)
        if time.monotonic() - self._opened_at[oldest] < IDLE_TIMEOUT_S:
            return False
        del self._opened_at[oldest]
        with suppress(OSError):
            oldest.shutdown(socket.SHUT_RDWR)
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connection errors."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve_monitor(status: Callable[[], MonitorStatus], config: MonitorConfig) -> WSGIServer:
    """Start the server in a thread.

    Returns:
        The server: `server_port` is its port, `shutdown` stops it.

    Raises:
        BadConfigError: The address is in use or not available.
    """
    try:
        server = make_server(config.host, config.port, MonitorApp(status, config), _Server, RequestHandler)
    except OSError as error:
        raise BadConfigError(
            f"cannot listen on {config.host}:{config.port} ({error.strerror})",
            "a free port",
            "Select another port with --port, or any free port with --port 0.",
        ) from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="pages", daemon=True).start()
    return server


def _text_response(status: str, sentence: str, start: StartResponse) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), _NOSNIFF])
    return [f"{sentence}\n".encode()]
