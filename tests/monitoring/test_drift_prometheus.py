"""A real Prometheus with the real rules scrapes the real exporter."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


@dataclass(frozen=True)
class Watch:
    """A monitor, its exporter, and the address of the Prometheus that scrapes it."""

    monitor: Monitor
    exporter: WSGIServer
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
        """Waits until Prometheus has seen so many windows, and evaluated the rules twice since."""
        wait_until(lambda: self.value("taxonflow_drift_windows") == count)
        time.sleep(2.5)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.25)


@pytest.fixture
def watch(config: MonitorConfig, tmp_path: Path) -> Iterator[Watch]:
    monitor = Monitor(config)
    exporter = serve_monitor(lambda: monitor.status, config)
    port = free_port()
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule_groups(stale_after="3s")))
    scraped = {"job_name": "monitor", "static_configs": [{"targets": [f"127.0.0.1:{exporter.server_port}"]}]}
    settings = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [scraped],
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
    found = Watch(monitor, exporter, f"http://127.0.0.1:{port}")
    try:
        wait_until(lambda: _is_ready(found))
        yield found
    finally:
        process.kill()
        process.wait()
        exporter.server_close()


def _is_ready(watch: Watch) -> bool:
    try:
        return watch.value("taxonflow_drift_events_total") is not None
    except OSError:
        return False


def test_two_drifted_windows_fire_one_does_not_a_clean_one_resolves_and_a_lost_monitor_is_noticed(
    watch: Watch, clean: pd.DataFrame, corrupted: dict[str, pd.DataFrame]
) -> None:
    blurred = corrupted["blur"]
    traffic = [clean.head(64), blurred.head(64), clean.iloc[64:128], blurred.iloc[64:128], blurred.iloc[128:192]]
    fired = []
    for number, answers in enumerate([*traffic, clean.iloc[128:192]], start=1):
        append_events(watch.monitor.config.events / f"events-{number}.jsonl", events_of(answers))
        assert len(watch.monitor.poll()) == 1
        watch.wait_until_windows(number)
        fired.append("TaxonflowDriftSustained" in watch.firing())
    assert fired == [False, False, False, False, True, False]
    assert "TaxonflowMonitorStale" not in watch.firing()
    watch.exporter.shutdown()
    watch.exporter.server_close()
    wait_until(lambda: "TaxonflowMonitorStale" in watch.firing())
