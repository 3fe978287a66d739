"""Much traffic at once, with junk in it and versions that change."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

Body = Callable[..., dict[str, Any]]
REQUESTS, CLIENTS, JUNK_EVERY = 20_000, 8, 10


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


class Traffic:
    """Clients that send slices and junk in turns, and check every answer.

    Args:
        url: of the predict path.
        bodies: good requests of one slice each.
        expected: float32 [slices, species] for each set of weights that may answer.
    """

    def __init__(self, url: str, bodies: list[dict[str, Any]], expected: list[Any]) -> None:
        self.url, self.bodies, self.expected = url, bodies, expected
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[Any] = []
        self._numbers, self._lock = iter(range(REQUESTS)), threading.Lock()
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def goes_on(self) -> bool:
        return any(client.is_alive() for client in self._clients)

    def answered(self) -> int:
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


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_requests_with_junk_and_two_version_switches(
    start_server: Any,
    publish: Any,
    tmp_path: Path,
    raw_slices: list[bytes],
    reference: Any,
    segmented_slices: list[bytes],
    instances_of: Body,
) -> None:
    publish(tmp_path, "loaded", 1, seed=1)
    server = start_server(tmp_path)
    expected = [reference[seed](segmented_slices)["scores"] for seed in (1, 2)]
    bodies = [instances_of([image]) for image in raw_slices]
    traffic = Traffic(f"{server.url}/v1/models/loaded:predict", bodies, expected)
    traffic.start()
    for share, version in ((0.15, 2), (0.3, 3)):
        while traffic.answered() < share * REQUESTS:
            time.sleep(0.05)
        publish(tmp_path, "loaded", version, seed=2 if version == 2 else 1)
    resident = []
    while traffic.goes_on():
        if traffic.answered() > REQUESTS / 2:
            resident.append(resident_kib(server.process.pid))
        time.sleep(0.5)
    assert traffic.statuses == {("good", 200): REQUESTS * 9 // 10, ("junk", 400): REQUESTS // 10}
    assert not traffic.wrong
    assert "loaded version 3 is being served" in server.log.read_text()
    assert resident[-1] <= 1.05 * resident[0], resident
