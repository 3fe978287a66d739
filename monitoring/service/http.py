"""The monitor over HTTP: `/metrics` for Prometheus, `/` for people, `/reports/...` for Evidently's pages."""

import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import unquote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from components.shared.errors import BadConfigError
from monitoring.config import MonitorConfig
from monitoring.drift.status import MonitorStatus
from monitoring.service.metrics import DriftCollector
from monitoring.service.page import REPORTS, console_page

REFRESH_S, SILENCE_S = 10, 10.0
_REPORT = re.compile(r"(report-[^/\\\0]+|latest)\.html")
_HTML = ("Content-Type", "text/html; charset=utf-8")
_SAFE = ("X-Content-Type-Options", "nosniff")


class MonitorPages:
    """The WSGI application.

    Args:
        status: gives the status of now.
        config: the monitor's configuration.
    """

    def __init__(self, status: Callable[[], MonitorStatus], config: MonitorConfig) -> None:
        self._status, self._config = status, config
        registry = CollectorRegistry()
        registry.register(DriftCollector(status, config))
        self._metrics: WSGIApplication = make_wsgi_app(registry)

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answers a request; what is not there is 404."""
        path = unquote(str(environ.get("PATH_INFO", "/")))
        if path == "/metrics":
            return self._metrics(environ, start)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _say("405 Method Not Allowed", "GET alone is answered here.", start)
        if path in ("", "/"):
            page = console_page(self._status(), self._config)
            start("200 OK", [_HTML, _SAFE, ("Refresh", str(REFRESH_S)), ("Cache-Control", "no-store")])
            return [page.encode()]
        if path.startswith(REPORTS):
            return self._report(path.removeprefix(REPORTS), start)
        return _say("404 Not Found", "Look at /, /metrics or /reports/latest.html.", start)

    def _report(self, name: str, start: StartResponse) -> Iterable[bytes]:
        path = self._config.out / name
        try:
            content = path.read_bytes() if _REPORT.fullmatch(name) else None
        except OSError:
            content = None
        if content is None:
            return _say("404 Not Found", "No such report: not written yet, or gone to make room. Look at /.", start)
        start("200 OK", [_HTML, _SAFE])
        return [content]


class _SilentHandler(WSGIRequestHandler):
    """Leaves the screen to the monitor, and a client that says nothing after a while."""

    timeout = SILENCE_S

    def log_message(self, format: str, *_arguments: Any) -> None:  # noqa: A002 the base class names it
        """Says nothing of a request."""


class _Server(ThreadingWSGIServer):
    """A thread for each client; one that goes away is nothing to speak of."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leaves out what a client did."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve_monitor(status: Callable[[], MonitorStatus], config: MonitorConfig) -> WSGIServer:
    """Serves the pages from a thread.

    Returns:
        The server; `server_port` says where, `shutdown` ends it.

    Raises:
        BadConfigError: the address is taken or cannot be had.
    """
    try:
        server = make_server(config.host, config.port, MonitorPages(status, config), _Server, _SilentHandler)
    except OSError as error:
        raise BadConfigError(
            f"{config.host}:{config.port} cannot be listened on ({error.strerror})",
            "a free port",
            "Choose another with --port, or 0 for any.",
        ) from error
    threading.Thread(target=server.serve_forever, args=(0.1,), name="pages", daemon=True).start()
    return server


def _say(status: str, sentence: str, start: StartResponse) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), _SAFE])
    return [f"{sentence}\n".encode()]
