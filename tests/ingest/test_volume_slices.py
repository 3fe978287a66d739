"""Volumes are cut into slices, or rejected with a reason."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from components.ingest.slice_files import SliceJob
from components.ingest.volume_slices import cut_volume
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.specimen import Specimen, find_specimen

Writer = Callable[..., Path]


@pytest.mark.parametrize("name", ["changes.nii", "changes.nii.gz"])
def test_a_file_that_changes_while_it_is_read_is_rejected(
    ball: np.ndarray, write_nifti: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    file = write_nifti(ball, name)
    job = SliceJob(name, file, tmp_path / "part", 5, "random", 32, 0)
    assert cut_volume(job).slices == 5
    monkeypatch.setattr("components.ingest.volume_slices.find_specimen", partial(_touch_and_find, file))
    assert "changed while it was read" in cut_volume(job).refusal
    file.unlink()
    assert "cannot be read" in cut_volume(job).refusal


def _touch_and_find(file: Path, volume: Volume, user_mask: NDArray[np.bool_] | None) -> Specimen:
    os.utime(file, (1, 1))
    return find_specimen(volume, user_mask)
