"""Input that the demonstration rejects; `tests/test_readme.py` runs the whole demonstration."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.shared.errors import EXIT_BAD_INPUT, EXIT_FAILED
from components.shared.signing import VERIFICATION_KEY
from pipelines.local.demo import main
from pipelines.local.demo_traffic import PHASES
from tests.serving.conftest import card_of
from tests.waiting import end_of, wait_until

ROOT = Path(__file__).parents[3]
WINDOWS = sum(phase.windows for phase in PHASES)


def test_a_model_of_other_species_is_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, ("quartz", "feldspar"))
    assert main(["--out", str(tmp_path), "--no-keep-running"]) == EXIT_BAD_INPUT
    output = " ".join(capsys.readouterr().out.split())
    assert "species feldspar, quartz" in output
    assert "Set OUT to another folder." in output


@pytest.mark.parametrize("slices", ["100", "6"])
def test_windows_that_cannot_be_filled_evenly_are_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slices: str
) -> None:
    publish(tmp_path, ("Fallotia", "Orbitoides"))
    sizes = ["--window-slices", slices, "--window-specimens", "12"]
    assert main([*sizes, "--out", str(tmp_path), "--no-keep-running"]) == EXIT_BAD_INPUT
    assert "a multiple of 12" in " ".join(capsys.readouterr().out.split())


def test_a_server_that_ends_at_once_ends_the_demonstration(tmp_path: Path) -> None:
    publish(tmp_path, ("Fallotia", "Orbitoides"))
    command = [sys.executable, "-m", "pipelines.local.demo", f"--out={tmp_path}", "--no-keep-running"]
    environment = {**os.environ, VERIFICATION_KEY[0]: str(tmp_path / "missing.pem"), "COLUMNS": "1000"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        code, output = end_of(process)
    assert code == EXIT_FAILED, output
    assert "the server ended with exit code" in output
    assert "missing.pem" in output


@pytest.mark.skipif(sys.platform != "linux", reason="lists processes in /proc")
def test_termination_ends_the_children_and_removes_temporary_files(tmp_path: Path) -> None:
    publish(tmp_path, ("Fallotia", "Orbitoides"))
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "pipelines.local.demo", f"--out={tmp_path}", "--keep-running"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: len(processes_with(str(tmp_path))) >= 3, pause_s=0.1)
            time.sleep(1)
        finally:
            process.terminate()
        code = process.wait(60)
    assert (code, processes_with(str(tmp_path)), list((tmp_path / "scratch").iterdir())) == (143, [], [])


def processes_with(text: str) -> list[str]:
    """Return the command lines of the running processes that contain a text."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:  # the process has ended
            continue
    return [line for line in lines if text in line]


def publish(out: Path, classes: tuple[str, ...]) -> None:
    folder = out / "models" / "forams" / "1"
    folder.mkdir(parents=True)
    card_of("forams", classes=classes).write(folder / "model.json")
