"""Volumes whose masks are doubtful are named with the reason, and are refused on request."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from components.ingest.config import IngestConfig
from components.ingest.dataset import make_dataset
from components.shared.errors import BadManifestError
from components.shared.slices import read_index

EDGE = 48
GRID = np.indices((EDGE,) * 3) - EDGE / 2
RADIUS = np.sqrt((GRID**2).sum(axis=0))
BALL = (RADIUS <= 14) & (RADIUS > 10)
FIELDS = {"image_size": 32, "slices_per_species": 30, "planes": "random", "seed": 7, "workers": 1}


def _write(file: Path, grey: np.ndarray, seed: int = 0) -> None:
    noisy = grey + np.random.default_rng(seed).normal(0, 6, grey.shape)
    file.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), np.eye(4)), file)


def _two() -> np.ndarray:
    return 40 + 140.0 * (np.sqrt(GRID[0] ** 2 + GRID[1] ** 2 + (np.abs(GRID[2]) - 12) ** 2) < 9)


def _inverted() -> np.ndarray:
    return 180 - 100.0 * BALL


def _noise() -> np.ndarray:
    return np.full(BALL.shape, 100.0)


def _cut_off() -> np.ndarray:
    return 40 + 140.0 * (np.sqrt(((GRID + np.array([18, 0, 0])[:, None, None, None]) ** 2).sum(axis=0)) < 14)


def _tiny() -> np.ndarray:
    return 40 + 140.0 * (RADIUS < 2.8)


DOUBTFUL: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "two": (_two, "second object"),
    "inverted": (_inverted, "of the volume"),
    "noise": (_noise, "contrast"),
    "cut-off": (_cut_off, "touches the border"),
    "tiny": (_tiny, "only"),
}


@pytest.fixture
def doubtful_volumes(own_phantoms: Path) -> Path:
    """Add a volume with each kind of doubtful mask to the phantoms."""
    with (own_phantoms / "manifest.csv").open("a", encoding="utf-8") as manifest:
        for number, (name, (make, _)) in enumerate(DOUBTFUL.items()):
            _write(own_phantoms / f"{name}.nii.gz", make(), number)
            manifest.write(f"{name}.nii.gz,Orbitoides,{name}\n")
    return own_phantoms


def test_doubtful_masks_are_named_with_reason_and_picture(
    doubtful_volumes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = make_dataset(doubtful_volumes, tmp_path / "slices", IngestConfig.checked(**FIELDS)).html
    masks = json.loads((tmp_path / "slices" / "dataset.json").read_text()).get("doubtful_masks", [])
    reasons = {mask["path"]: "; ".join(mask["reasons"]) for mask in masks}
    assert list(reasons) == [f"{name}.nii.gz" for name in DOUBTFUL]
    output = capsys.readouterr().out
    for name, (_, reason) in DOUBTFUL.items():
        assert reason in reasons[f"{name}.nii.gz"]
        assert f"[ingest] doubtful mask of {name}.nii.gz: {reasons[f'{name}.nii.gz']}\n" in output
        assert f'alt="{name}.nii.gz" src="data:image/png' in page
    assert set(DOUBTFUL) <= set(read_index(tmp_path / "slices")["specimen"])


def test_doubtful_masks_are_refused_on_request(doubtful_volumes: Path, tmp_path: Path) -> None:
    fields = {**FIELDS, **({"doubtful_masks": "refuse"} if "doubtful_masks" in IngestConfig.model_fields else {})}
    info = make_dataset(doubtful_volumes, tmp_path / "slices", IngestConfig.checked(**fields)).info
    reasons = {refusal.path: refusal.reason for refusal in info.refused}
    assert set(reasons) == {f"{name}.nii.gz" for name in DOUBTFUL}
    assert all(DOUBTFUL[path.removesuffix(".nii.gz")][1] in reason for path, reason in reasons.items())
    assert info.specimens() == 15


def test_one_tube_in_all_scans_is_not_one_individual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    across = np.hypot(GRID[1], GRID[2])
    tube = (across < 22) & (across > 19)
    for species in ("Alba", "Nigra"):
        for number in range(4):
            radius = np.sqrt((np.indices((EDGE,) * 3) - 20 - number) ** 2).sum(axis=0)
            specimen = radius < (9 if species == "Alba" else 12)
            grey = 40 + 100.0 * specimen + 180.0 * tube
            _write(tmp_path / "scans" / species / f"{species} {number}.nii.gz", grey, number + 10 * (species == "Alba"))
    try:
        info = make_dataset(tmp_path / "scans", tmp_path / "slices", IngestConfig.checked(**FIELDS)).info
    except BadManifestError as error:
        pytest.fail(str(error))
    masks = json.loads((tmp_path / "slices" / "dataset.json").read_text())["doubtful_masks"]
    assert len(masks) == info.specimens() == 8
    output = capsys.readouterr().out
    for mask in masks:
        assert "like the masks of 7 other specimens" in "; ".join(mask["reasons"])
        assert f"[ingest] doubtful mask of {mask['path']}: " in output


def test_clean_phantoms_have_no_doubtful_mask(own_phantoms: Path, tmp_path: Path) -> None:
    make_dataset(own_phantoms, tmp_path / "slices", IngestConfig.checked(**FIELDS))
    assert json.loads((tmp_path / "slices" / "dataset.json").read_text()).get("doubtful_masks") == []
