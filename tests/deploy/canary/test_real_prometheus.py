"""User metrics from a real Prometheus that scrapes a real server with TensorFlow Serving's metrics."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from components.deploy.canary.prometheus import read_traffic
from components.shared.subprocesses import free_port
from tests.http_server import Request, Response, http_server
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]
POD = "forams-canary-predictor-6f89d8bdc6-xgf68"


class TensorFlowServing:
    """Metrics of TensorFlow Serving: predictions take 3 ms, and probes are requests too."""

    def __init__(self) -> None:
        self.predictions = self.failures = self.probes = 0

    def __call__(self, _request: Request) -> Response:
        name, labels = ":tensorflow:serving", 'model_name="forams"'
        latency = f'{name}:request_latency_bucket{{{labels},API="predict",entrypoint="REST",le='
        lines = [
            f"# TYPE {name}:request_count counter",
            f'{name}:request_count{{{labels},status="OK"}} {self.predictions + self.probes}',
            f"# TYPE {name}:request_latency histogram",
            *(f'{latency}"{edge}"}} {self.predictions * (edge >= 4000)}' for edge in (1000, 2000, 4000, 8000)),
            f'{latency}"+Inf"}} {self.predictions}',
            f'{name}:request_latency_sum{{{labels},API="predict",entrypoint="REST"}} {self.predictions * 3000}',
            f'{name}:request_latency_count{{{labels},API="predict",entrypoint="REST"}} {self.predictions}',
        ]
        if self.failures:
            lines.append(f'{name}:request_count{{{labels},status="INVALID_ARGUMENT"}} {self.failures}')
        return Response(200, ("\n".join(lines) + "\n").encode(), {"Content-Type": "text/plain; version=0.0.4"})


@pytest.fixture
def serving() -> TensorFlowServing:
    return TensorFlowServing()


@pytest.fixture
def prometheus(serving: TensorFlowServing, tmp_path: Path) -> Iterator[str]:
    """URL of a Prometheus that scrapes the server as a pod of the namespace lab five times a second."""
    with http_server(serving) as address:
        target = {"targets": [address.removeprefix("http://")], "labels": {"namespace": "lab", "pod": POD}}
        settings = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {
                    "job_name": "predictors",
                    "metrics_path": "/monitoring/prometheus/metrics",
                    "static_configs": [target],
                }
            ],
        }
        (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        url = f"http://127.0.0.1:{free_port()}"
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yaml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: has_scraped(url), pause_s=0.1)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def has_scraped(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query=up", timeout=5) as answer:
            return bool(json.load(answer)["data"]["result"])
    except OSError:
        return False


def test_users_are_counted_by_predictions_after_the_pairs(serving: TensorFlowServing, prometheus: str) -> None:
    serving.predictions = serving.probes = 5000  # those of the probe, before the window
    time.sleep(0.6)
    start = time.monotonic()
    for _ in range(20):
        serving.predictions += 10
        serving.probes += 100
        serving.failures += 1
        time.sleep(0.1)
    time.sleep(0.5)
    traffic = read_traffic(prometheus, "lab", "forams-canary-predictor", time.monotonic() - start - 0.05)
    assert traffic is not None
    assert 120 <= traffic.requests <= 250
    assert 10 <= traffic.errors <= 25
    assert 0.002 < traffic.latency <= 0.004


def test_a_predictor_that_is_not_scraped_has_no_traffic(prometheus: str) -> None:
    time.sleep(0.6)
    assert read_traffic(prometheus, "lab", "forams-canary-predictor", 10) is not None
    assert read_traffic(prometheus, "lab", "forams-predictor", 10) is None
    assert read_traffic(prometheus, "elsewhere", "forams-canary-predictor", 10) is None
