"""A monitor that starts before there is a served model: it waits, says so, and then misses no event."""

import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from monitoring.__main__ import EXIT_INSUFFICIENT_DATA, main
from monitoring.config import MonitorConfig
from monitoring.drift.sentences import describe_waiting
from monitoring.service.monitor import Monitor
from monitoring.service.state import STATE_FILE, MonitorState
from tests.monitoring.drift_traffic import MODEL, append_events, events_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def empty(config: MonitorConfig, tmp_path: Path) -> MonitorConfig:
    """Configure a monitor whose repository has no model yet."""
    return config.model_copy(update={"repository": tmp_path / "models", "poll_seconds": 0.1})


def publish(repository: Path, source: Path, version: int = 1) -> None:
    """Write a version as the deploy step does: the reference profile, then the card."""
    folder = repository / MODEL / str(version)
    folder.mkdir(parents=True)
    for name in ("reference.parquet", "model.json"):
        shutil.copyfile(source / MODEL / str(version) / name, folder / name)


def arguments_of(config: MonitorConfig) -> list[str]:
    return [
        *("--events", str(config.events)),
        *("--repository", str(config.repository)),
        *("--out", str(config.out)),
        *("--window-slices", str(config.window_slices)),
        *("--window-specimens", str(config.window_specimens)),
        *("--port", "0"),
    ]


def answer(url: str) -> tuple[int, str]:
    """Return the status and the text of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def process(empty: MonitorConfig) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "monitoring", *arguments_of(empty)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    yield process
    process.kill()
    process.wait()


def test_a_process_without_a_model_waits_and_then_reads_all_events(
    process: subprocess.Popen[str], empty: MonitorConfig, repository: Path, clean: pd.DataFrame
) -> None:
    append_events(empty.events / "events-1.jsonl", events_of(clean.head(20)))
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    (address,) = re.findall(r"metrics: (http://\S+)/metrics", lines[0])
    assert re.search(r"waiting for a served model: \S+ contains no served model", lines[2])
    ready, reason = answer(f"{address}/readyz")
    assert (ready, "waiting for a served model" in reason) == (503, True)
    assert answer(f"{address}/healthz")[0] == 200
    assert "Waiting for a served model" in answer(f"{address}/")[1]
    assert "taxonflow_drift_models 0.0" in answer(f"{address}/metrics")[1]
    publish(empty.repository, repository)
    assert "insufficient data, 20 of 60 slices" in process.stdout.readline()
    assert answer(f"{address}/readyz")[0] == 200
    assert "taxonflow_drift_models 1.0" in answer(f"{address}/metrics")[1]
    assert "Waiting for" not in answer(f"{address}/")[1]
    assert process.poll() is None


def test_a_check_without_a_model_is_refused_with_a_remedy(
    empty: MonitorConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments_of(empty), "--once"]) == 2
    assert "contains no served model" in capsys.readouterr().err


def test_a_wait_is_reported_once(empty: MonitorConfig, capsys: pytest.CaptureFixture[str]) -> None:
    monitor = Monitor(empty)
    for _ in range(3):
        monitor.poll()
    assert describe_waiting(monitor.status).startswith("waiting for a served model")
    assert capsys.readouterr().err == ""
    assert set(monitor.status.errors.values()) == {0}


def test_a_restart_that_finds_no_model_loses_no_state(
    config: MonitorConfig, empty: MonitorConfig, repository: Path, clean: pd.DataFrame
) -> None:
    append_events(empty.events / "events-1.jsonl", events_of(clean.head(20)))
    Monitor(config).poll()
    path = empty.out / STATE_FILE
    state = MonitorState.read(path)
    stream = next(each for each in state.streams if each.version == 1)
    drifted_stream = stream.model_copy(update={"completed_windows": 3, "consecutive_drifted": 2})
    state.model_copy(update={"streams": (drifted_stream,)}).write(path)
    monitor = Monitor(empty)
    append_events(empty.events / "events-1.jsonl", events_of(clean.iloc[20:32]))
    monitor.poll()
    assert monitor.status.events == 0
    publish(empty.repository, repository)
    monitor.poll()
    (model,) = monitor.status.models
    assert (model.windows, model.consecutive_drifted, model.pending_slices) == (3, 2, 32)


def test_a_second_model_that_appears_is_monitored(config: MonitorConfig, tmp_path: Path, repository: Path) -> None:
    models = tmp_path / "models"
    publish(models, repository)
    monitor = Monitor(config.model_copy(update={"repository": models}))
    shutil.copytree(models / MODEL, models / "fish")
    monitor.poll()
    assert [model.model for model in monitor.status.models] == ["fish", MODEL]


def test_once_after_a_model_appeared_has_insufficient_data(empty: MonitorConfig, repository: Path) -> None:
    publish(empty.repository, repository)
    assert main([*arguments_of(empty), "--once"]) == EXIT_INSUFFICIENT_DATA
