"""The folder of temporary files of a run."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest


def run(tmp_path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    options = ["--preset=smoke", f"--volumes={tmp_path / 'set'}", f"--out={tmp_path / 'runs'}"]
    command, environment = [sys.executable, "-m", "pipelines.run", *options], {**os.environ, "TMPDIR": str(folder)}
    return subprocess.run(
        command, env={**environment, "COLUMNS": "1000"}, capture_output=True, text=True, timeout=200, check=False
    )


def write_unusable_set(folder: Path) -> None:
    (folder / "Alveolina").mkdir(parents=True)
    (folder / "Alveolina" / "one.nii.gz").write_bytes(b"")


def test_a_run_leaves_no_temporary_files(tmp_path: Path) -> None:
    write_unusable_set(tmp_path / "set")
    (tmp_path / "scratch").mkdir()
    result = run(tmp_path, tmp_path / "scratch")
    assert (result.returncode, list((tmp_path / "scratch").iterdir())) == (2, []), result.stdout


def test_a_terminated_run_leaves_no_temporary_files(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-m", "pipelines.run", "--preset=smoke", f"--out={tmp_path / 'runs'}"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if line.startswith("phantoms"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_worker_processes_leave_no_temporary_files() -> None:
    lines = (
        "import multiprocessing",
        "from pipelines.local.process import scratch_folder",
        "with scratch_folder():",
        "    with multiprocessing.get_context('forkserver').Pool(1) as pool: pool.map(abs, [-1])",
    )
    with tempfile.TemporaryDirectory() as scratch:  # the path of a socket is limited to about 100 bytes
        command, environment = [sys.executable, "-c", "\n".join(lines)], {**os.environ, "TMPDIR": scratch}
        result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert list(Path(scratch).iterdir()) == []


def test_a_missing_temporary_folder_is_named(tmp_path: Path) -> None:
    result = run(tmp_path, tmp_path / "gone")
    assert "gone (No such file or directory): expected a folder" in result.stdout
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_temporary_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        result = run(tmp_path, folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    assert "TMPDIR=" in result.stdout, result.stdout
    assert "No space left on device" in result.stdout.replace("\n", " ")
    assert result.returncode == 2
