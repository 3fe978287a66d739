"""Answers to browser pages of other origins (CORS); without the option, browsers refuse them to every page."""

import argparse
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware

ANY_ORIGIN = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_REQUEST_HEADERS = ("Content-Encoding", "Content-Type")


def add_origin_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for the origins whose pages may call the server."""
    parser.add_argument(
        "--allow_origin",
        "--allow-origin",
        action="append",
        type=parse_origin,
        default=[],
        metavar="ORIGIN",
        help="origin of browser pages that may call the server, as https://host:port, or *; may be repeated (none)",
    )


def parse_origin(text: str) -> str:
    """Return an origin as browsers send it; raises ArgumentTypeError if the text is none."""
    if text == ANY_ORIGIN:
        return text
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    rest = (parts.path.rstrip("/"), parts.query, parts.fragment, parts.username or "")
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or any(rest) or parts.hostname == ANY_ORIGIN:
        raise argparse.ArgumentTypeError(f"{text[:128]!r}, expected http(s)://host, http(s)://host:port, or *")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _DEFAULT_PORTS[parts.scheme]) else "")


def allow_origins(app: Any, origins: Sequence[str]) -> None:
    """Answer pages of some origins with CORS headers, also their preflight requests; none for an empty list."""
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=tuple(origins),
            allow_methods=("GET", "POST"),
            allow_headers=_REQUEST_HEADERS,
            allow_private_network=True,
            expose_headers=("Retry-After",),
        )
