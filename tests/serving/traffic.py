"""A load generator: good requests, junk, new versions, and the memory of the server."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

CLIENTS, JUNK_EVERY = 8, 10
SWITCHES = (0.15, 0.3)
"""Fractions of the requests after which a version is published."""


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


class Traffic:
    """Clients that alternate slices and junk, and check every answer.

    Args:
        url: Address of the predict path.
        bodies: Valid request bodies of one slice each.
        own_scores: Scores of each version that may answer, float32 [slices, species].
        requests: Number of requests of all clients together.
    """

    def __init__(self, url: str, bodies: list[dict[str, Any]], own_scores: list[Any], requests: int) -> None:
        self.url, self.bodies, self.expected, self.requests = url, bodies, own_scores, requests
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[Any] = []
        self._numbers, self._lock = iter(range(requests)), threading.Lock()
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def run(self, publish: Callable[[int], object], pid: int) -> list[int]:
        """Send all requests and publish versions 2 and 3 meanwhile.

        Args:
            publish: Function that publishes a version number.
            pid: Process id of the server.

        Returns:
            Resident KiB of the server, twice a second in the second half of the requests.
        """
        for client in self._clients:
            client.start()
        for version, share in enumerate(SWITCHES, start=2):
            while self._answered() < share * self.requests:
                time.sleep(0.05)
            publish(version)
        resident = []
        while any(client.is_alive() for client in self._clients):
            if self._answered() > self.requests / 2:
                resident.append(resident_kib(pid))
            time.sleep(0.5)
        return [*resident, resident_kib(pid)]

    def all_are_answered(self) -> bool:
        """Return whether each valid request got its answer and each junk request a 400."""
        junk = len(range(0, self.requests, JUNK_EVERY))
        return not self.wrong and self.statuses == {("good", 200): self.requests - junk, ("junk", 400): junk}

    def _answered(self) -> int:
        with self._lock:
            return sum(self.statuses.values())

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while (number := self._next()) is not None:
                if number % JUNK_EVERY == 0:
                    self._count("junk", client.post(self.url, content=b"{junk" * (number % 50)))
                else:
                    self._check(number % len(self.bodies), client)

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _count(self, kind: str, response: httpx.Response) -> None:
        with self._lock:
            self.statuses[kind, response.status_code] += 1

    def _check(self, row: int, client: httpx.Client) -> None:
        response = client.post(self.url, json=self.bodies[row])
        self._count("good", response)
        scores = np.array(response.json()["predictions"][0]["scores"])
        if not any(np.abs(scores - scores_of[row]).max() < 1e-5 for scores_of in self.expected):
            self.wrong.append(scores)
