"""A manifest's column `mask` replaces the segmentation; a mask that does not fit is refused by name."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.shared.slices import read_index
from tests.ingest.volume_files import layers_of, write_mha, write_nrrd

CONFIG = IngestConfig(image_size=32, slices_per_species=30, planes="random", seed=7, workers=1)
GRID = np.indices((48,) * 3) - 24.0
TUBE = (np.hypot(GRID[1], GRID[2]) < 22) & (np.hypot(GRID[1], GRID[2]) > 18)
BALL = np.sqrt((GRID**2).sum(axis=0)) < 12


def _write(file: Path, grey: np.ndarray, spacing: float = 1.0) -> None:
    nib.save(nib.Nifti1Image(grey.astype(np.uint8), np.diag([spacing] * 3 + [1.0])), file)


def _add_row(folder: Path, mask: str) -> None:
    noise = np.random.default_rng(0).normal(0, 6, BALL.shape)
    _write(folder / "tube.nii.gz", np.clip(40 + 100 * BALL + 200 * TUBE + noise, 0, 255))
    header, *rows = (folder / "manifest.csv").read_text().splitlines()
    lines = [
        f"{header},mask",
        *(f"{row}," for row in rows),
        f"tube.nii.gz,Orbitoides,tube{',' * (header.count(',') - 2)},{mask}",
    ]
    (folder / "manifest.csv").write_text("\n".join(lines))


def test_the_own_mask_replaces_the_segmentation(own_phantoms: Path, tmp_path: Path) -> None:
    _write(own_phantoms / "own.nii.gz", BALL)
    _add_row(own_phantoms, "own.nii.gz")
    result = make_dataset(own_phantoms, tmp_path / "slices", CONFIG)
    assert result.info.refused == ()
    index = read_index(tmp_path / "slices").set_index("specimen")
    extent = index.loc["tube", "spacing_mm"] * 32
    assert extent.max() < 40, "the frame is that of the ball, not of the tube"
    assert (tmp_path / "slices" / "split.csv").read_text().count("own.nii.gz") == 1


@pytest.mark.parametrize("name", ["mirrored", "other shape", "other zooms", "empty", "missing", "outside", "text"])
def test_a_mask_that_does_not_fit_is_refused_by_name(own_phantoms: Path, tmp_path: Path, name: str) -> None:
    _write(own_phantoms / "other shape.nii.gz", BALL[:40])
    _write(own_phantoms / "other zooms.nii.gz", BALL, 0.5)
    mirrored = nib.Nifti1Image(BALL.astype(np.uint8), np.diag([-1.0, 1.0, 1.0, 1.0]))
    nib.save(mirrored, own_phantoms / "mirrored.nii.gz")
    _write(own_phantoms / "empty.nii.gz", np.zeros(BALL.shape))
    (own_phantoms / "text.nii.gz").write_bytes(b"these are words")
    _add_row(own_phantoms, "../own.nii.gz" if name == "outside" else f"{name}.nii.gz")
    info = make_dataset(own_phantoms, tmp_path / "slices", CONFIG).info
    reasons = {refusal.path: refusal.reason for refusal in info.refused}
    assert set(reasons) == {"tube.nii.gz"}
    assert "its mask" in reasons["tube.nii.gz"]


@pytest.mark.parametrize("name", ["own.nrrd", "own.mha", "own.tif"])
def test_a_mask_of_another_format_is_refused_by_name(own_phantoms: Path, tmp_path: Path, name: str) -> None:
    mask = np.asfortranarray(BALL.astype(np.uint8))
    write_nrrd(own_phantoms / "own.nrrd", mask, space_directions="(1,0,0) (0,1,0) (0,0,1)")
    write_mha(own_phantoms / "own.mha", mask, ElementSpacing="1 1 1")
    options = {"resolution": (1.0, 1.0), "metadata": {"spacing": 1, "unit": "mm"}}
    tifffile.imwrite(own_phantoms / "own.tif", layers_of(mask), imagej=True, **options)
    _add_row(own_phantoms, name)
    refusals = make_dataset(own_phantoms, tmp_path / "slices", CONFIG).info.refused
    assert [refusal.path for refusal in refusals] == ["tube.nii.gz"]
    assert "NIfTI" in refusals[0].reason
