"""Whatever ends a run ends what it has started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.shared.contracts import Example
from components.shared.files import write_atomically
from pipelines.local.process import python_process
from tests.deploy.test_deploy_component import write_slices
from tests.serving.conftest import card_of

LEAVE = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).pid)"


def runs(process: int) -> bool:
    """Whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(process: int) -> None:
    for _ in range(600):
        if not runs(process):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {process} was left")


def test_what_a_run_that_was_killed_has_started_ends_with_it() -> None:
    with python_process(["-u", "-c", LEAVE], os.environ) as process:
        assert process.stdout is not None
        left = int(process.stdout.readline())
        assert process.wait() == 0
        assert runs(left)
    wait_until_gone(left)


@pytest.mark.slow
def test_a_first_request_that_is_ended_ends_its_server(tmp_path: Path) -> None:
    known = Example(id="x/0", file="x.png", species="alveolina", scores=(1.0,))
    card = card_of("forams", examples=(known,))
    write_atomically(tmp_path / "models" / "forams" / "1" / "model.json", card.to_json().encode())
    folders = {"models": tmp_path / "models", "events": tmp_path / "events", "log": tmp_path / "log"}
    options = {**folders, "raw": write_slices(tmp_path / "slices", 1), "name": "forams", "version": 1}
    command = [
        sys.executable,
        "-m",
        "pipelines.local.first_request",
        *(f"--{key}={value}" for key, value in options.items()),
    ]
    with subprocess.Popen(command) as asking:
        while not (folders["log"].is_file() and "loading" in folders["log"].read_text()):
            time.sleep(0.05)
        children = Path(f"/proc/{asking.pid}/task/{asking.pid}/children").read_text().split()
        asking.send_signal(signal.SIGTERM)
    assert len(children) == 1
    wait_until_gone(int(children[0]))
