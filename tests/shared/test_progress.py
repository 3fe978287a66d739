"""Progress is printed as log lines; libraries do not fill the log of a step."""

import logging

import httpx
import pytest

from components.shared.errors import exit_on_error
from components.shared.progress import Progress
from tests.http_server import Response, http_server


def test_progress_reports_the_end_and_not_every_unit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXONFLOW_PROGRESS_S", "0.2")
    progress = Progress("ingest", 1000, "specimens")
    for _ in range(1000):
        progress.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "[ingest] 1000/1000 specimens"
    assert len(lines) < 20


def printed_lines(seconds_by_unit: float, units: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Advance through all units of a work on a clock of the test."""
    clock = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    progress = Progress("deploy", units, "pairs")
    for _ in range(units):
        clock[0] += seconds_by_unit
        progress.advance()


def test_a_log_has_a_line_for_every_tenth_of_fast_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAXONFLOW_PROGRESS_S", raising=False)
    printed_lines(0.02, 2000, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "[deploy] 2000/2000 pairs"


def test_a_log_has_a_line_after_30_s_of_slow_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TAXONFLOW_PROGRESS_S", raising=False)
    printed_lines(1.0, 3000, monkeypatch)
    assert 90 <= len(capsys.readouterr().out.splitlines()) <= 110


def test_a_step_logs_no_request_of_its_http_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), http_server(lambda _: Response()) as url:
        with exit_on_error("deploy"):
            for _ in range(3):
                httpx.get(url, trust_env=False)
        logging.getLogger("httpx").warning("a warning")
    assert [record.getMessage() for record in caplog.records if record.name == "httpx"] == ["a warning"]
