"""Models and drift events of release 0.1.0 in the current server and monitor."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.shared.contracts import SERVED_TOLERANCE
from components.shared.model_repository import read_card, version_folder
from monitoring.drift.event_log import EventLog

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL, EVENTS = FIXTURES / "served-model-0.1.0", FIXTURES / "drift-events-0.1.0"
NAME = "foraminifera"


@pytest.fixture(scope="module")
def old_model_server(start_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    repository = tmp_path_factory.mktemp("old-release") / "models"
    shutil.copytree(MODEL, repository)
    return start_server(repository)


def test_the_known_slices_of_an_old_model_get_their_answers(old_model_server: Any, instances_of: Any) -> None:
    folder = version_folder(MODEL, NAME, 1)
    card = read_card(folder)
    images = [(folder / example.file).read_bytes() for example in card.examples]
    response = httpx.post(f"{old_model_server.url}/v1/models/{NAME}:predict", json=instances_of(images), timeout=60)
    rows = response.json()["predictions"]
    assert len(rows) == len(card.examples) > 0
    for row, example in zip(rows, card.examples, strict=True):
        assert example.difference(row["scores"]) < SERVED_TOLERANCE
        assert row["species"] in card.classes
        assert set(row) == {"species", "confidence", "scores", "unknown", "embedding"}
    assert card.model_id == ""


def test_a_vote_of_an_old_model_has_the_fields_of_its_release(old_model_server: Any, instances_of: Any) -> None:
    image = (version_folder(MODEL, NAME, 1) / "examples" / "000.png").read_bytes()
    body = instances_of([image], "drawer-1")
    answer = httpx.post(f"{old_model_server.url}/v1/models/{NAME}:predict", json=body, timeout=60).json()
    assert set(answer["specimens"]["drawer-1"]) == {"species", "confidence", "agreement", "slices", "unknown"}


def test_an_old_model_reports_its_species_in_its_metadata(old_model_server: Any) -> None:
    from serving.votes import classes_of

    metadata = httpx.get(f"{old_model_server.url}/v1/models/{NAME}/metadata").json()
    assert classes_of(metadata) == read_card(version_folder(MODEL, NAME, 1)).classes


def test_drift_events_of_an_old_server_are_read() -> None:
    log = EventLog(EVENTS, {}, {})
    events = [item.event for item in log.read()]
    lines = sum(len(file.read_text().splitlines()) for file in EVENTS.glob("events-*.jsonl"))
    assert len(events) == lines > 0
    assert log.corrupt_lines == 0
    assert {(event.model, event.version, event.model_id) for event in events} == {(NAME, 1, "")}
