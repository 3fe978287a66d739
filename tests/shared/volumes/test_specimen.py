"""The specimen is detected in its volume."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from components.phantoms.generate import PhantomConfig, generate_phantoms
from components.shared.errors import BadSourceFileError
from components.shared.volumes.connected_components import keep_largest_component
from components.shared.volumes.formats import read_volume
from components.shared.volumes.formats.base import Volume
from components.shared.volumes.grey_range import trim_grey_range
from components.shared.volumes.histograms import row_ends
from components.shared.volumes.specimen import bounding_box, find_specimen
from components.shared.volumes.thresholds import otsu_bin, otsu_threshold

REAL = Path(__file__).parents[4] / "shared" / "real_volumes"


def _volume(grey: np.ndarray) -> Volume:
    return Volume(np.ascontiguousarray(grey), np.full(3, 0.1), float(grey.min()), float(grey.max()), "")


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    return tuple(slice(*ends) for ends in bounding_box(row_ends(mask)).T)


def test_the_mask_agrees_with_the_true_mask_of_phantoms(tmp_path: Path) -> None:
    species = ("Elphidiella", "Orbitoides", "Lockhartia")
    config = PhantomConfig(specimens_per_species=5, unseen_per_species=0, size=40, seed=3, species=species)
    generate_phantoms(tmp_path / "set", config, workers=1)
    volumes, overlaps = tmp_path / "set" / "volumes", []
    for file in sorted(volumes.rglob("*.nii.gz")):
        mask = find_specimen(read_volume(file)).mask
        truth = np.asarray(nib.load(tmp_path / "set" / "masks" / file.relative_to(volumes)).dataobj).T > 0
        overlaps.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert np.mean(overlaps) >= 0.95


def test_an_offset_of_the_grey_values_changes_nothing(ball: np.ndarray) -> None:
    original, offset = find_specimen(_volume(ball)), find_specimen(_volume(ball.astype(np.float64) * 3 - 1000))
    np.testing.assert_array_equal(original.mask, offset.mask)
    assert np.abs(original.grey.astype(int) - offset.grey).max() <= 1


def test_the_window_clips_one_percent_at_each_end(ball: np.ndarray) -> None:
    specimen = find_specimen(_volume(ball))
    box = specimen.grey[_box(specimen.mask)]
    assert 0.005 < (box == 0).mean() < 0.02
    assert 0.005 < (box == 255).mean() < 0.02


def test_a_few_very_bright_voxels_do_not_hide_the_specimen(ball: np.ndarray) -> None:
    grey = ball.copy()
    grey[0, 0, :3] = 400
    counts = np.zeros(100, np.int64)
    counts[[5, 95]] = 50
    assert otsu_bin(counts) == 50
    np.testing.assert_array_equal(find_specimen(_volume(grey)).mask, find_specimen(_volume(ball)).mask)


def test_a_threshold_near_the_maximum_falls_back() -> None:
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    grey = np.full((20, 20, 20), 90.0, np.float32) + noise
    grey[0] = 0
    grey[10, 10, 10] = 100
    volume = _volume(grey)
    assert otsu_threshold(*trim_grey_range(volume)) == pytest.approx(0.4 * volume.brightest, rel=1e-3)


def test_only_the_largest_object_is_the_specimen() -> None:
    bright = np.zeros((20, 20, 20), bool)
    bright[2:12, 2:12, 2:12] = True
    largest = bright.copy()
    bright[14:18, 14:18, 14:18] = True
    assert keep_largest_component(bright) == (1000, 64)
    np.testing.assert_array_equal(bright, largest)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), shape=st.tuples(*[st.integers(1, 15)] * 3), density=st.floats(0, 1))
def test_the_largest_component_is_that_of_scipy(seed: int, shape: tuple[int, int, int], density: float) -> None:
    bright = np.random.default_rng(seed).random(shape) < density
    labels, _ = ndimage.label(bright)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    mask = bright.copy()
    assert keep_largest_component(mask) == tuple(np.sort([*sizes, 0])[:-3:-1])
    assert np.unique(labels[mask]).size == bright.any()
    assert mask.sum() == sizes.max()


def test_specks_are_not_a_specimen() -> None:
    grey = np.zeros((20, 20, 20), np.uint8)
    grey[::5, ::5, ::5] = 200
    with pytest.raises(BadSourceFileError, match="largest object has 1 voxels"):
        find_specimen(_volume(grey))


def test_the_outline_encloses_the_mask(ball: np.ndarray) -> None:
    specimen = find_specimen(_volume(ball))
    points = np.argwhere(specimen.mask) * specimen.zooms_mm
    for direction in np.random.default_rng(0).normal(size=(20, 3)):
        assert (specimen.outline @ direction).max() == pytest.approx((points @ direction).max())


@pytest.mark.skipif(not REAL.is_dir(), reason="no real volumes beside the repository")
@pytest.mark.parametrize("name", ["bone", "cement", "fibers", "shell", "fly"])
def test_real_scans_have_a_specimen_even_if_it_fills_the_volume(name: str) -> None:
    specimen = find_specimen(read_volume(REAL / "blocks" / f"{name}_00.nii.gz"))
    box = _box(specimen.mask)
    share = np.prod([side.stop - side.start for side in box]) / specimen.mask.size
    assert share > (0.9 if name in ("bone", "cement", "fibers") else 0.05)
    assert specimen.background < 100
