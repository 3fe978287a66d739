"""An output folder without symbolic links, locks and permissions."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.files import write_atomically
from tests.limited_system import AVAILABLE, LINKS_AND_LOCKS, MODES, limited

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="the filter of system calls is for Linux on x86_64")


def run(volumes: Path, out: Path) -> subprocess.CompletedProcess[str]:
    options = ["--preset=smoke", f"--volumes={volumes}", f"--out={out}"]
    command = limited([sys.executable, "-m", "pipelines.run", *options], LINKS_AND_LOCKS)
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


def test_a_run_without_links_and_locks_ends_and_says_so(tmp_path: Path) -> None:
    result = run(tmp_path / "missing", tmp_path / "runs")
    summaries = list((tmp_path / "runs").glob("*/summary.json"))
    assert (result.returncode, len(summaries)) == (2, 1), result.stdout + result.stderr
    assert "file system without locks" in result.stdout
    assert "latest cannot be created (Operation not permitted): the run is in" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert run(tmp_path / "missing", tmp_path / "runs").stdout.count("another run") == 0


@pytest.mark.parametrize("is_running", [True, False])
def test_only_a_living_owner_keeps_a_second_run_out(is_running: bool, tmp_path: Path) -> None:
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19] if is_running else "1"
    owner = f'["{socket.gethostname()}", {os.getpid()}, "{start}"]'
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / ".lock.owner").write_text(owner)
    result = run(tmp_path / "missing", tmp_path / "runs")
    assert ("remove" in result.stdout.split("another run uses")[-1], len(list((tmp_path / "runs").glob("2*")))) == (
        is_running,
        int(not is_running),
    ), result.stdout


def test_a_file_is_written_where_permissions_are_refused(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from {write_atomically.__module__} import write_atomically;"
    code += f"write_atomically(Path({str(tmp_path / 'file')!r}), b'x')"
    subprocess.run(limited([sys.executable, "-c", code], MODES), capture_output=True, check=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_a_whole_run_without_links_and_locks_ends_deployed(volumes: Path, tmp_path: Path) -> None:
    result = run(volumes, tmp_path / "runs")
    assert result.returncode == 0, result.stdout + result.stderr
