"""The command that a person starts."""

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
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from monitoring.__main__ import EXIT_DRIFT, EXIT_TOO_LITTLE, main
from monitoring.config import MonitorConfig
from monitoring.service.state import STATE_FILE
from tests.monitoring.drift_traffic import append_events, events_of


def arguments_of(config: MonitorConfig) -> list[str]:
    return [
        *("--events", str(config.events)),
        *("--repository", str(config.repository)),
        *("--out", str(config.out)),
        *("--window-slices", str(config.window_slices)),
        *("--window-specimens", str(config.window_specimens)),
        *("--port", "0"),
    ]


def test_a_single_slice_is_too_little_and_the_message_says_how_to_go_on(
    config: MonitorConfig,
    clean: pd.DataFrame,
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(1)))
    assert main([*arguments_of(config), "--once"]) == EXIT_TOO_LITTLE
    said = capsys.readouterr().out
    assert "too little data to judge, 1 of 60 slices and 1 of 8 specimens so far. Send more slices" in said


def test_once_says_no_drift_then_drift_and_ends_with_the_verdict_as_exit_code(
    config: MonitorConfig,
    clean: pd.DataFrame,
    corrupted: dict[str, pd.DataFrame],
    capsys: pytest.CaptureFixture[str],
) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
    assert main([*arguments_of(config), "--once"]) == 0
    assert "no drift; nearest to its threshold: " in capsys.readouterr().out
    append_events(config.events / "events-1.jsonl", events_of(corrupted["blur"].head(64)))
    assert main([*arguments_of(config), "--once"]) == EXIT_DRIFT
    said = capsys.readouterr().out
    assert "DRIFT in" in said
    (report,) = re.findall(r"report (\S+\.html)", said)
    assert Path(report).is_file()
    assert main([*arguments_of(config), "--once"]) == EXIT_DRIFT


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (["--repository", "nowhere"], 2, "holds no served model"),
        (["--window-slices", "0"], 2, "--window-slices 0"),
        (["--port", "70000"], 2, "--port 70000"),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(
    config: MonitorConfig, change: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments_of(config), *change, "--once"]) == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_the_command_follows_the_folder_serves_metrics_and_stops_politely(
    config: MonitorConfig, clean: pd.DataFrame
) -> None:
    command = [sys.executable, "-m", "monitoring", *arguments_of(config)]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert process.stdout is not None
        (address,) = re.findall(r"http://\S+/metrics", process.stdout.readline())
        assert "evidently ui --workspace" in process.stdout.readline()
        assert "too little data" in process.stdout.readline()
        append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
        assert "no drift" in process.stdout.readline()
        with urllib.request.urlopen(address, timeout=5) as answer:
            assert 'taxonflow_drift_detected{model="forams"} 0.0' in answer.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert "stopped" in process.stdout.read()
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_monitor_killed_at_any_moment_judges_each_window_once(config: MonitorConfig, clean: pd.DataFrame) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["monitoring.service.window_store", "monitoring.service.workspace"]
    )  # so that a life takes no seconds
    events, moments = events_of(clean), random.Random(0)
    for start in range(0, 480, 24):
        state = state_of(config)
        process = context.Process(target=main, args=(arguments_of(config),))
        process.start()
        try:
            append_events(config.events / "events-1.jsonl", events[start : start + 12])
            wait_until(lambda before=state: state_of(config) != before)
            append_events(config.events / "events-1.jsonl", events[start + 12 : start + 24])
            time.sleep(moments.uniform(0, 1.2))
        finally:
            process.kill()
            process.join()
    assert main([*arguments_of(config), "--once"]) in (0, EXIT_DRIFT)
    undisturbed = config.model_copy(update={"out": config.out.with_name("undisturbed")})
    assert main([*arguments_of(undisturbed), "--once"]) in (0, EXIT_DRIFT)
    left, expected = (
        {path.name: rounded(path) for path in each.out.glob("window-*.json")} for each in (config, undisturbed)
    )
    assert len(expected) >= 7
    assert left == expected


def rounded(path: Path) -> object:
    """A window's result without the last digits, which follow from the order of a set in each process."""
    return json.loads(path.read_text(), parse_float=lambda digits: round(float(digits), 9))


def state_of(config: MonitorConfig) -> bytes:
    path = config.out / STATE_FILE
    return path.read_bytes() if path.exists() else b""


def wait_until(condition: Callable[[], bool], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_full_disk_is_said_and_once_there_is_room_again_no_window_is_missing(
    config: MonitorConfig, clean: pd.DataFrame
) -> None:
    append_events(config.events / "events-1.jsonl", events_of(clean.head(64)))
    command = [sys.executable, "-m", "monitoring", *arguments_of(config), "--once"]
    full = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *command],  # no file may grow beyond a block or two
        cwd=Path(__file__).parents[2],
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
