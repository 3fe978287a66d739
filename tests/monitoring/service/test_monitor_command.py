"""The command `python -m monitoring`."""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pandas as pd
import pytest

from monitoring.__main__ import EXIT_DRIFT, EXIT_INSUFFICIENT_DATA, main
from monitoring.config import MonitorConfig
from monitoring.service.state import STATE_FILE
from tests.monitoring.drift_traffic import append_events, events_of
from tests.waiting import wait_until


def arguments_of(config: MonitorConfig) -> list[str]:
    return [
        *("--events", str(config.events)),
        *("--repository", str(config.repository)),
        *("--out", str(config.out)),
        *("--window-slices", str(config.window_slices)),
        *("--window-specimens", str(config.window_specimens)),
        *("--port", "0"),
    ]


def test_a_single_slice_is_insufficient_data(
    config: MonitorConfig,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(1)))
    assert main([*arguments_of(config), "--once"]) == EXIT_INSUFFICIENT_DATA
    assert "insufficient data, 1 of 60 slices and 1 of 8 specimens received" in capsys.readouterr().out


def test_once_prints_the_verdict_and_exits_with_its_code(
    config: MonitorConfig,
    clean: pd.DataFrame,
    drifted_slices: dict[str, pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
    assert main([*arguments_of(config), "--once"]) == 0
    assert "no drift; closest to its threshold: " in capsys.readouterr().out
    append_events(config.events / "events-1.jsonl", events_of(drifted_slices["blur"].head(64)))
    assert main([*arguments_of(config), "--once"]) == EXIT_DRIFT
    output = capsys.readouterr().out
    assert "DRIFT in" in output
    (report,) = re.findall(r"report (\S+\.html)", output)
    assert Path(report).is_file()
    assert main([*arguments_of(config), "--once"]) == EXIT_DRIFT


@pytest.mark.parametrize(
    ("change", "code", "clause"),
    [
        (["--repository", "nowhere"], 2, "served model"),
        (["--window-slices", "0"], 2, "--window-slices 0"),
        (["--port", "70000"], 2, "--port 70000"),
    ],
)
def test_invalid_options_are_refused_without_a_traceback(
    config: MonitorConfig, change: list[str], code: int, clause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments_of(config), *change, "--once"]) == code
    output = capsys.readouterr().err
    assert clause in output
    assert "Traceback" not in output


def test_the_command_serves_metrics_and_stops_on_a_signal(config: MonitorConfig, clean: pd.DataFrame) -> None:
    command = [sys.executable, "-m", "monitoring", *arguments_of(config)]
    root = Path(__file__).parents[3]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        (address,) = re.findall(r"http://\S+/metrics", process.stdout.readline())
        assert "evidently ui --workspace" in process.stdout.readline()
        assert "insufficient data" in process.stdout.readline()
        append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
        assert "no drift" in process.stdout.readline()
        with urllib.request.urlopen(address, timeout=5) as response:
            assert 'taxonflow_drift_detected{model="forams"} 0.0' in response.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "stopped" in process.stdout.read()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_monitor_killed_at_any_time_evaluates_each_window_once(config: MonitorConfig, clean: pd.DataFrame) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["monitoring.service.window_store"])  # a process starts in less than a second
    events, moments = events_of(clean), random.Random(0)
    for start in range(0, 480, 24):
        state = state_of(config)
        process = context.Process(target=main, args=(arguments_of(config),))
        process.start()
        try:
            append_events(config.events / "events-1.jsonl", events[start : start + 12])
            wait_until(lambda before=state: state_of(config) != before, timeout_s=600)
            append_events(config.events / "events-1.jsonl", events[start + 12 : start + 24])
            time.sleep(moments.uniform(0, 1.2))
        finally:
            process.kill()
            process.join()
    assert main([*arguments_of(config), "--once"]) in (0, EXIT_DRIFT)
    uninterrupted = config.model_copy(update={"out": config.out.with_name("uninterrupted")})
    assert main([*arguments_of(uninterrupted), "--once"]) in (0, EXIT_DRIFT)
    interrupted_windows, windows = (
        {path.name: rounded(path) for path in each.out.glob("window-*.json")} for each in (config, uninterrupted)
    )
    assert len(windows) >= 7
    assert interrupted_windows == windows


def rounded(path: Path) -> object:
    """Return a result without its last digits, which depend on the iteration order of a set in each process."""
    return json.loads(path.read_text(), parse_float=lambda digits: round(float(digits), 9))


def state_of(config: MonitorConfig) -> bytes:
    path = config.out / STATE_FILE
    return path.read_bytes() if path.exists() else b""


def test_a_full_disk_is_reported_and_its_windows_are_written_later(config: MonitorConfig, clean: pd.DataFrame) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
    command = [sys.executable, "-m", "monitoring", *arguments_of(config), "--once"]
    full = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command],  # files are limited to one block
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 0, full.stderr
    assert "no drift after 1 window;" in full.stdout
    assert f"{config.out} cannot be written (File too large)" in full.stderr
    assert "Traceback" not in full.stderr
    assert list(config.out.glob("*.html")) == []
    assert main([*arguments_of(config), "--once"]) == 0
    assert len(list(config.out.glob("window-*.json"))) == 1
