"""HTTP client whose connections are closed before they become old, so that each request soon reaches today's pods."""

import time
from typing import Any, Self

import httpx

MAX_AGE_S = 5.0


class ShortLivedClient:
    """HTTP client that keeps its connections for at most MAX_AGE_S.

    Args:
        timeout_s: Timeout of a request in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def post(self, url: str, body: Any) -> httpx.Response:
        """Send a JSON document; raises httpx.HTTPError."""
        if time.monotonic() - self._opened_at > MAX_AGE_S:
            self.reconnect()
        return self._client.post(url, json=body)

    def reconnect(self) -> None:
        """Close all connections."""
        self._client.close()
        self._open()

    def _open(self) -> None:
        self._client = httpx.Client(timeout=self._timeout_s, trust_env=False)
        self._opened_at = time.monotonic()
