"""Events of a model that the server could not number are attributed by the id in its card."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.shared.contracts import DriftEvent, ModelCard
from monitoring.config import MonitorConfig
from monitoring.recurring.check import check
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import MODEL, append_events, events_of

IDS = {1: "a" * 64, 2: "b" * 64}


@pytest.fixture
def signed(config: MonitorConfig, repository: Path, tmp_path: Path) -> MonitorConfig:
    """Configure a monitor with two versions whose cards have model ids."""
    models = tmp_path / "models"
    shutil.copytree(repository, models)
    for version, model_id in IDS.items():
        path = models / MODEL / str(version) / "model.json"
        ModelCard.read(path).model_copy(update={"model_id": model_id}).write(path)
    return config.model_copy(update={"repository": models})


def events_with_id(predictions: pd.DataFrame, model_id: str) -> list[DriftEvent]:
    """Return events without a version, whose answers named a model."""
    return [event.model_copy(update={"version": 0, "model_id": model_id}) for event in events_of(predictions)]


def test_an_event_without_a_version_counts_for_the_model_of_its_id(signed: MonitorConfig, clean: pd.DataFrame) -> None:
    append_events(signed.events / "events-1.jsonl", events_with_id(clean.head(20), IDS[1]))
    monitor = Monitor(signed)
    monitor.poll()
    (model,) = monitor.status.models
    assert (model.version, model.pending_slices, monitor.status.errors["missing_reference"]) == (1, 20, 0)


def test_the_recurring_check_attributes_events_by_id(signed: MonitorConfig, clean: pd.DataFrame) -> None:
    append_events(signed.events / "events-1.jsonl", events_with_id(clean.head(20), IDS[1]))
    result = check(MODEL, 2, signed)
    assert (result.version, result.pending_slices) == (1, 20)


def test_an_unknown_id_is_missing_until_its_card_is_published(signed: MonitorConfig, clean: pd.DataFrame) -> None:
    log = signed.events / "events-1.jsonl"
    monitor = Monitor(signed)
    append_events(log, events_with_id(clean.head(4), "c" * 64))
    monitor.poll()
    assert monitor.status.errors["missing_reference"] == 4
    shutil.copytree(signed.repository / MODEL / "2", signed.repository / MODEL / "3")
    path = signed.repository / MODEL / "3" / "model.json"
    ModelCard.read(path).model_copy(update={"model_id": "c" * 64}).write(path)
    append_events(log, events_with_id(clean.head(2), "c" * 64))
    monitor.poll()
    assert monitor.status.errors["missing_reference"] == 4
    assert (monitor.status.models[0].version, monitor.status.models[0].pending_slices) == (3, 2)
