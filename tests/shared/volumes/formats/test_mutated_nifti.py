"""Damaged NIfTI files are accepted or rejected with a reason, in bounded time and memory."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_header, read_volume

ROOT = Path(__file__).parents[4]
MAX_GROWTH = 100 * 10**6
Writer = Callable[..., Path]


@pytest.mark.parametrize("module", ["mutated_nifti", "mutated_formats"])
@pytest.mark.parametrize(
    ("count", "seed"), [pytest.param(400, 0, id="some"), pytest.param(5000, 1, id="all", marks=pytest.mark.slow)]
)
def test_damaged_files_take_bounded_time_and_memory(tmp_path: Path, count: int, seed: int, module: str) -> None:
    arguments = [f"tests.shared.volumes.formats.{module}", str(count), str(seed), str(tmp_path)]
    command = [sys.executable, "-W", "ignore", "-m", *arguments]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert process.returncode == 0, f"file {process.stderr[-2000:]}"
    counts = json.loads(process.stdout)
    assert counts["accepted"] + counts["rejected"] == count
    assert min(counts["accepted"], counts["rejected"]) > count / 5
    assert counts["reasons"] > 20
    assert counts["growth"] < MAX_GROWTH


def _gzip_content(ball: np.ndarray, write_nifti: Writer) -> bytes:
    file = write_nifti(ball, "good.nii.gz")
    return file.read_bytes()


def test_a_gzip_file_of_several_members_is_read(ball: np.ndarray, write_nifti: Writer, tmp_path: Path) -> None:
    content = gzip.decompress(_gzip_content(ball, write_nifti))
    members = [gzip.compress(content[start : start + 4096]) for start in range(0, len(content), 4096)]
    (tmp_path / "members.nii.gz").write_bytes(b"".join([*members, gzip.compress(b"")]))
    np.testing.assert_array_equal(read_volume(tmp_path / "members.nii.gz").grey, ball.T)


def test_trailing_zeros_are_ignored(ball: np.ndarray, write_nifti: Writer, tmp_path: Path) -> None:
    file = tmp_path / "padded.nii.gz"
    file.write_bytes(_gzip_content(ball, write_nifti))
    with file.open("r+b") as stream:
        stream.truncate(2**28)
    np.testing.assert_array_equal(read_volume(file).grey, ball.T)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"x" * 10**7, "truncated"),
        (gzip.compress(b"", mtime=0) * 10**5, "damaged"),
    ],
    ids=["an endless name", "empty members"],
)
def test_endless_gzip_headers_are_rejected(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "endless.nii.gz").write_bytes(content)
    with pytest.raises(BadSourceFileError, match=reason):
        read_header(tmp_path / "endless.nii.gz")


def test_grey_values_too_close_for_a_histogram_are_rejected(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball.astype(np.float64) * 1e-310, "tiny.nii")
    with pytest.raises(BadSourceFileError, match="grey values from"):
        read_volume(file)
