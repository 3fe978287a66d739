"""The metrics over HTTP."""

import contextlib
import select
import socket
import threading
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

import pandas as pd
import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.shared.errors import BadConfigError
from monitoring.config import MonitorConfig
from monitoring.service.http import RequestHandler, serve_monitor
from monitoring.service.metrics import MODEL_METRICS, MONITOR_METRICS
from monitoring.service.monitor import Monitor
from tests.monitoring.drift_traffic import FEATURES, append_events, events_of
from tests.waiting import wait_until

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def monitor(config: MonitorConfig) -> Monitor:
    return Monitor(config)


@pytest.fixture
def address(monitor: Monitor) -> Iterator[str]:
    server = serve_monitor(lambda: monitor.status, monitor.config)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()


def scrape(address: str) -> dict[tuple[str, Labels], float]:
    with urllib.request.urlopen(address, timeout=5) as response:
        text = response.read().decode()
    return {
        (sample.name.removeprefix("taxonflow_drift_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of_model(**labels: str) -> Labels:
    return frozenset({"model": "forams", **labels}.items())


def test_before_the_first_window_there_is_a_state_but_no_score(monitor: Monitor, address: str) -> None:
    monitor.poll()
    samples = scrape(address)
    assert samples["state", of_model(state="insufficient_data")] == 1
    assert samples["state", of_model(state="no_drift")] == 0
    assert not any(name in {"score", "threshold", "detected"} for name, _ in samples)
    assert samples["required_slices", frozenset()] == monitor.config.window_slices


def test_gauges_have_the_values_of_the_latest_window(
    monitor: Monitor,
    address: str,
    drifted_slices: dict[str, pd.DataFrame],
) -> None:
    append_events(monitor.config.events / "events-1.jsonl", events_of(drifted_slices["noise"].head(70)))
    (result,) = monitor.poll()
    samples = scrape(address)
    for feature in result.features:
        assert samples["score", of_model(feature=feature.feature)] == pytest.approx(feature.score)
        assert samples["threshold", of_model(feature=feature.feature)] == pytest.approx(feature.threshold)
    assert samples["detected", of_model()] == 1
    assert samples["drifted_features", of_model()] == len(result.drifted) > 0
    assert samples["window_slices", of_model()] == result.slices
    assert samples["window_specimens", of_model()] == result.specimens
    assert samples["window_unknown_specimen_ratio", of_model()] == result.unknown_specimen_ratio
    assert samples["window_end_timestamp_seconds", of_model()] == result.end
    assert samples["pending_slices", of_model()] == 70 - result.slices
    assert samples["events_total", frozenset()] == 70
    assert samples["errors_total", frozenset({("kind", "corrupt_line")})] == 0
    assert samples["state", of_model(state="drift")] == 1


def test_metrics_match_their_table_and_labels_are_bounded(monitor: Monitor, address: str, clean: pd.DataFrame) -> None:
    unknown_species = [event.model_copy(update={"species": event.id}) for event in events_of(clean.head(70))]
    append_events(monitor.config.events / "events-1.jsonl", unknown_species)
    assert len(monitor.poll()) == 1
    samples = scrape(address)
    assert {name for name, _ in samples} == {metric.name for metric in (*MODEL_METRICS, *MONITOR_METRICS)}
    assert {dict(labels)["feature"] for name, labels in samples if name == "score"} == set(FEATURES)
    assert len([labels for name, labels in samples if name == "window_species_ratio"]) == 6


def test_an_idle_client_is_disconnected_without_a_traceback(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RequestHandler, "timeout", RequestHandler.timeout / 100)
    server = serve_monitor(lambda: monitor.status, monitor.config)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        assert connection.recv(1) == b""
    server.shutdown()
    server.server_close()
    assert capsys.readouterr().err == ""


def test_the_connections_are_bounded(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port, threads = urlsplit(address).port or 0, threading.active_count()
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(100)]
        wait_until(lambda: len(select.select(connections, [], [], 0)[0]) == 36, timeout_s=8)
        answered, _, _ = select.select(connections, [], [], 0)
        assert threading.active_count() - threads <= 64
        assert {connection.recv(12) for connection in answered} == {b"HTTP/1.1 503"}
        monkeypatch.setattr("monitoring.service.http.IDLE_TIMEOUT_S", 0.0)
        assert scrape(address)
    assert scrape(address)


def test_an_address_in_use_is_refused_by_name(monitor: Monitor) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = monitor.config.model_copy(update={"port": listener.getsockname()[1]})
        with pytest.raises(BadConfigError, match="cannot listen on"):
            serve_monitor(lambda: monitor.status, config)
