"""A disk that becomes full after the model was deployed, while the run writes its summary."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DISK_BYTES = 400 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a small file system."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill_when_deployed(disk: Path, has_ended: threading.Event) -> None:
    """Wait for the deployed model, then keep the disk full until the run has ended."""
    block = bytes(2**16)
    with (disk / "filler").open("ab", buffering=0) as filler:
        while not has_ended.wait(0.02):
            try:
                while list(disk.glob("models/*/1/model.json")) and filler.write(block):
                    pass
            except OSError:  # the disk is full
                continue


@pytest.mark.slow
def test_a_full_disk_during_the_summary_is_named_in_a_sentence(disk: Path) -> None:
    has_ended = threading.Event()
    filler = threading.Thread(target=fill_when_deployed, args=(disk, has_ended))
    filler.start()
    command = [sys.executable, "-m", "pipelines.run", "--preset=smoke", "--seed=0", f"--out={disk}"]
    environment = {**os.environ, "COLUMNS": "1000"}
    try:
        process = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    finally:
        has_ended.set()
        filler.join()
    text = " ".join((process.stdout + process.stderr).split())
    assert "summary.json cannot be written (No space left on device)" in text, text[-3000:]
    assert "Free disk space; a deployed model remains and can be served." in text
    assert "Traceback" not in text
    assert process.returncode == 1
