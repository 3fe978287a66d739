"""Thousands of damaged NIfTI files: read or refused with a reason, in bounded time and memory."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import BadSourceFileError
from components.shared.volumes.nifti import read_header, read_volume

ROOT = Path(__file__).parents[2]
MOST_MEMORY = 100 * 10**6
Writer = Callable[..., Path]


@pytest.mark.parametrize(
    ("count", "seed"), [pytest.param(400, 0, id="some"), pytest.param(5000, 1, id="all", marks=pytest.mark.slow)]
)
def test_damaged_files_are_read_or_refused_within_time_and_memory(tmp_path: Path, count: int, seed: int) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.ingest.mutated_nifti", str(count), str(seed), str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, f"file {ended.stderr[-2000:]}"
    found = json.loads(ended.stdout)
    assert found["read"] + found["refused"] == count
    assert min(found["read"], found["refused"]) > count / 5
    assert found["reasons"] > 20
    assert found["risen"] < MOST_MEMORY


def _zipped(ball: np.ndarray, write_nifti: Writer) -> bytes:
    file = write_nifti(ball, "good.nii.gz")
    return file.read_bytes()


def test_a_file_of_several_gzip_parts_is_read(ball: np.ndarray, write_nifti: Writer, tmp_path: Path) -> None:
    content = gzip.decompress(_zipped(ball, write_nifti))
    parts = [gzip.compress(content[start : start + 4096]) for start in range(0, len(content), 4096)]
    (tmp_path / "parts.nii.gz").write_bytes(b"".join([*parts, gzip.compress(b"")]))
    np.testing.assert_array_equal(read_volume(tmp_path / "parts.nii.gz").grey, ball.T)


def test_zeros_behind_the_volume_take_no_time(ball: np.ndarray, write_nifti: Writer, tmp_path: Path) -> None:
    file = tmp_path / "padded.nii.gz"
    file.write_bytes(_zipped(ball, write_nifti))
    with file.open("r+b") as stream:
        stream.truncate(2**28)
    np.testing.assert_array_equal(read_volume(file).grey, ball.T)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x1f\x8b\x08\x08\0\0\0\0\0\x03" + b"x" * 10**7, "truncated"),
        (gzip.compress(b"") * 10**5, "damaged"),
    ],
    ids=["a name without end", "parts without content"],
)
def test_endless_gzip_headers_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "endless.nii.gz").write_bytes(content)
    with pytest.raises(BadSourceFileError, match=reason):
        read_header(tmp_path / "endless.nii.gz")


def test_grey_values_too_close_for_a_histogram_are_refused(ball: np.ndarray, write_nifti: Writer) -> None:
    file = write_nifti(ball.astype(np.float64) * 1e-310, "tiny.nii")
    with pytest.raises(BadSourceFileError, match="values that can be compared"):
        read_volume(file)
