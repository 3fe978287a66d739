"""The child processes of a run end with it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.shared.contracts import Example
from components.shared.errors import EXIT_FAILED, DeployError
from components.shared.files import write_atomically
from components.shared.signing import VERIFICATION_KEY
from pipelines.local.first_request import send_first_request
from pipelines.local.process import python_process
from tests.deploy.slices import write_slices
from tests.serving.conftest import card_of
from tests.waiting import end_of, wait_until

LEAVE = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).pid)"


def is_running(process: int) -> bool:
    """Return True if a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(process: int) -> None:
    wait_until(lambda: not is_running(process), timeout_s=30)


def test_the_child_processes_of_a_run_end_with_it() -> None:
    with python_process(["-u", "-c", LEAVE], os.environ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.wait() == 0
        assert is_running(pid)
    wait_until_gone(pid)


def first_request_options(folder: Path) -> dict[str, Any]:
    """Write a model card and slices into a folder; return the options of the first request, which logs to `log`."""
    example = Example(id="x/0", file="x.png", species="alveolina", scores=(1.0,))
    card = card_of("forams", examples=(example,))
    write_atomically(folder / "models" / "forams" / "1" / "model.json", card.to_json().encode())
    folders = {"models": folder / "models", "events": folder / "events", "log": folder / "log"}
    return {**folders, "raw": write_slices(folder / "slices", 1), "name": "forams", "version": 1}


def first_request_command(folder: Path) -> list[str]:
    arguments = [f"--{key}={value}" for key, value in first_request_options(folder).items()]
    return [sys.executable, "-m", "pipelines.local.first_request", *arguments]


@pytest.mark.slow
def test_a_terminated_first_request_ends_its_server(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with subprocess.Popen(first_request_command(tmp_path)) as request_process:
        wait_until(lambda: log.is_file() and "loading" in log.read_text())
        children = Path(f"/proc/{request_process.pid}/task/{request_process.pid}/children").read_text().split()
        request_process.send_signal(signal.SIGTERM)
    assert len(children) == 1
    wait_until_gone(int(children[0]))


def test_a_first_request_ends_at_once_when_its_server_ends(tmp_path: Path) -> None:
    environment = {**os.environ, VERIFICATION_KEY[0]: str(tmp_path / "missing.pem")}
    command = first_request_command(tmp_path)
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        code, output = end_of(process)
    assert code == EXIT_FAILED, output
    assert "ended with exit code" in output
    assert "missing.pem" in output


def test_a_server_that_is_never_ready_is_named_with_the_timeout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.local.first_request.READY_TIMEOUT_S", 1.0)
    with pytest.raises(DeployError, match=r"version 1 at .* was not ready within 1 s"):
        send_first_request(**first_request_options(tmp_path))
