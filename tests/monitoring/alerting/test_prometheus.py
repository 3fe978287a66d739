"""A Prometheus server with the alert rules scrapes the monitor."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from wsgiref.simple_server import WSGIServer

import pandas as pd
import pytest
import yaml

from components.shared.subprocesses import free_port
from monitoring.alerting.rules import rule_groups
from monitoring.config import MonitorConfig
from monitoring.service.http import serve_monitor
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import append_events, events_of
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


WAITING_CONDITION = "count(taxonflow_drift_models==0)"
"""First condition of TaxonflowMonitorWaiting; the other one is a metric of the model server."""


@dataclass(frozen=True)
class Stack:
    """A monitor, its HTTP server, and the URL of the Prometheus server that scrapes it."""

    monitor: Monitor
    server: WSGIServer
    prometheus: str

    def firing(self) -> set[str]:
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/alerts", timeout=5) as answer:
            alerts = json.load(answer)["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def value(self, query: str) -> float | None:
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query?query={query}", timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    def wait_until_windows(self, count: int) -> None:
        """Wait until Prometheus has scraped this number of windows and evaluated the rules twice."""
        wait_until(lambda: self.value("taxonflow_drift_completed_windows") == count, pause_s=0.25)
        time.sleep(2.5)


@pytest.fixture
def stack(config: MonitorConfig, tmp_path: Path) -> Iterator[Stack]:
    yield from run_stack(config, tmp_path)


@pytest.fixture
def waiting_stack(config: MonitorConfig, tmp_path: Path) -> Iterator[Stack]:
    """Run the stack with a repository that has no model yet."""
    yield from run_stack(config.model_copy(update={"repository": tmp_path / "models"}), tmp_path)


def run_stack(config: MonitorConfig, tmp_path: Path) -> Iterator[Stack]:
    """Run a monitor and a Prometheus server."""
    monitor = Monitor(config)
    server = serve_monitor(lambda: monitor.status, config)
    port = free_port()
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_groups(stale_after="3s")))
    job = {"job_name": "monitor", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [job],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    stack = Stack(monitor, server, f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _is_ready(stack), pause_s=0.25)
        yield stack
    finally:
        process.kill()
        process.wait()
        server.server_close()


def _is_ready(stack: Stack) -> bool:
    try:
        return stack.value("taxonflow_drift_events_total") is not None
    except OSError:
        return False


def test_consecutive_drifted_windows_and_a_stopped_monitor_fire(
    stack: Stack, clean: pd.DataFrame, drifted_slices: dict[str, pd.DataFrame]
) -> None:
    blur = drifted_slices["blur"]
    traffic = [clean.head(64), blur.head(64), clean.iloc[64:128], blur.iloc[64:128], blur.iloc[128:192]]
    is_firing = []
    for number, predictions in enumerate([*traffic, clean.iloc[128:192]], start=1):
        append_events(stack.monitor.config.events / f"events-{number}.jsonl", events_of(predictions))
        assert len(stack.monitor.poll()) == 1
        stack.wait_until_windows(number)
        is_firing.append("TaxonflowDriftSustained" in stack.firing())
    assert is_firing == [False, False, False, False, True, False]
    assert "TaxonflowMonitorStale" not in stack.firing()
    stack.server.shutdown()
    stack.server.server_close()
    wait_until(lambda: "TaxonflowMonitorStale" in stack.firing(), pause_s=0.25)


def test_a_waiting_monitor_is_seen_and_is_not_stale(
    waiting_stack: Stack, repository: Path, clean: pd.DataFrame
) -> None:
    monitor = waiting_stack.monitor
    append_events(monitor.config.events / "events-1.jsonl", events_of(clean.head(4)))
    monitor.poll()
    wait_until(lambda: waiting_stack.value("taxonflow_drift_models") == 0, pause_s=0.25)
    time.sleep(4)
    assert "TaxonflowMonitorStale" not in waiting_stack.firing()
    assert waiting_stack.value(WAITING_CONDITION) == 1
    shutil.copytree(repository, monitor.config.repository)
    monitor.poll()
    wait_until(lambda: waiting_stack.value("taxonflow_drift_models") == 1, pause_s=0.25)
    assert waiting_stack.value("taxonflow_drift_events_total") == 4
    assert waiting_stack.value(WAITING_CONDITION) is None
