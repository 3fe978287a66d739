"""Label maps are refused by name; scans are not, even with few grey values or little noise."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tests.ingest.volume_cuts import cut, hollow_ball

Writer = Callable[..., Path]
REAL = Path(__file__).parents[3] / "shared" / "real_volumes"
REASON = "label map"


def _seeded_regions(count: int, shape: tuple[int, int, int] = (48, 44, 40)) -> np.ndarray:
    """Return a map of `count` labels: the cells of random points in a ball, 0 outside."""
    rng, grid = np.random.default_rng(count), np.indices(shape).reshape(3, -1).T
    seeds = rng.uniform(4, 36, (count - 1, 3))
    nearest = ((grid[:, None, :] - seeds[None]) ** 2).sum(axis=2).argmin(axis=1) + 1
    inside = ((grid - np.array(shape) / 2) ** 2).sum(axis=1) < 18**2
    return (nearest * inside).reshape(shape)


@pytest.mark.parametrize(
    ("count", "dtype", "scale"),
    [
        (2, np.uint8, 1),
        (2, np.uint8, 255),
        (2, np.float32, 1),
        (2, np.int16, -1),
        (4, np.uint8, 1),
        (5, np.float64, 0.25),
        (30, np.int16, 1),
        (30, np.float32, 1),
        (100, np.int32, 1),
        (250, np.int32, 1000),
    ],
)
def test_a_label_map_is_refused_by_name(
    write_nifti: Writer, tmp_path: Path, count: int, dtype: type, scale: float
) -> None:
    refusal, _ = cut(write_nifti((_seeded_regions(count) * scale).astype(dtype)), tmp_path)
    assert REASON in refusal


def test_the_mask_of_a_thin_shell_is_a_label_map(write_nifti: Writer, tmp_path: Path) -> None:
    radius = np.sqrt(((np.indices((48, 48, 48)) - 23.5) ** 2).sum(axis=0))
    refusal, _ = cut(write_nifti((np.abs(radius - 16) < 0.8).astype(np.uint8)), tmp_path)
    assert REASON in refusal


def test_phantoms_are_scans_and_their_masks_are_label_maps(own_phantoms: Path, tmp_path: Path) -> None:
    for scan in sorted(own_phantoms.glob("volumes/*/*.nii.gz")):
        assert cut(scan, tmp_path)[0] == ""
        assert REASON in cut(own_phantoms / "masks" / scan.parent.name / scan.name, tmp_path)[0]


def _variants(grey: np.ndarray) -> dict[str, np.ndarray]:
    """Return a scan as other programs store it: filtered, binned, with fewer grey levels, saturated or masked."""
    real = grey.astype(np.float32)
    low, high = np.percentile(real, (0.1, 99.9))
    median = ndimage.median_filter(grey, 3)
    variants = {f"{n} levels": np.clip((real - low) / (high - low) * n, 0, n - 1).astype(np.uint8) for n in (64, 32)}
    return {
        "as it is": grey,
        **variants,
        "saturated": np.clip((real - real.mean()) * 8, 0, 255).astype(np.uint8),
        "median": median,
        "median, masked": np.where(median > (low + high) / 2, median, 0),
        "smooth float, masked": np.where(median > (low + high) / 2, ndimage.gaussian_filter(real, 1), 0),
        "smooth, masked": np.where(median > (low + high) / 2, ndimage.gaussian_filter(real, 2), 0).astype(np.uint8),
        "binned": real[:40, :40, :40].reshape(20, 2, 20, 2, 20, 2).mean(axis=(1, 3, 5)).astype(np.uint8),
    }


@pytest.mark.parametrize("name", _variants(hollow_ball()))
def test_a_scan_in_any_form_is_no_label_map(write_nifti: Writer, tmp_path: Path, name: str) -> None:
    file = write_nifti(_variants(hollow_ball())[name])
    assert REASON not in cut(file, tmp_path)[0]


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real volumes are not beside the repository")
@pytest.mark.parametrize("name", ["bone", "cement", "fibers", "fly", "shell"])
def test_a_real_volume_in_any_form_is_no_label_map(write_nifti: Writer, tmp_path: Path, name: str) -> None:
    grey = np.asarray(nib.load(REAL / f"{name}.nii.gz").dataobj)
    for variant in _variants(grey).values():
        assert REASON not in cut(write_nifti(variant), tmp_path)[0]
