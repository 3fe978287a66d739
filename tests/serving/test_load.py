"""Heavy traffic with junk and new versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.serving.traffic import Traffic

Body = Callable[..., dict[str, Any]]
REQUESTS = 20_000


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_requests_with_junk_and_two_new_versions(
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
    scores = [reference[seed](segmented_slices)["scores"] for seed in (1, 2)]
    bodies = [instances_of([image]) for image in raw_slices]
    traffic = Traffic(f"{server.url}/v1/models/loaded:predict", bodies, scores, REQUESTS)
    resident = traffic.run(
        lambda version: publish(tmp_path, "loaded", version, seed=2 if version == 2 else 1), server.process.pid
    )
    assert traffic.all_are_answered(), (traffic.statuses, traffic.wrong[:3])
    assert "loaded version 3 is being served" in server.log.read_text()
    assert resident[-1] <= 1.05 * resident[0], resident
