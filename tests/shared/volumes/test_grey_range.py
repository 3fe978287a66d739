"""Padding and outliers do not move the threshold of the specimen."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components.shared.errors import BadSourceFileError
from components.shared.volumes.formats import read_volume
from components.shared.volumes.specimen import find_specimen

CASES = Path(__file__).parents[4] / "shared" / "cases"
LOWEST_FLOAT = float(np.finfo(np.float32).min)
EDGE = 48
GRID = np.indices((EDGE,) * 3) - EDGE / 2
RADIUS = np.sqrt((GRID**2).sum(axis=0))
BALL = (RADIUS <= 14) & (RADIUS > 10)
ROUND_FIELD = np.broadcast_to(np.hypot(GRID[1], GRID[2]) <= 22, BALL.shape)
Writer = Callable[..., Path]


def _scan(background: float, wall: float, noise: float, seed: int = 0) -> np.ndarray:
    """Return float64 [48, 48, 48]: a hollow ball in noise."""
    return background + (wall - background) * BALL + np.random.default_rng(seed).normal(0, noise, BALL.shape)


def _padded(scan: np.ndarray, padding: float, field: np.ndarray = ROUND_FIELD) -> np.ndarray:
    return np.where(field, scan, padding)


def _overlap(file: Path, truth: np.ndarray = BALL) -> float:
    """Return the IoU of a file's specimen with the truth, 0 if it is refused."""
    try:
        mask = find_specimen(read_volume(file)).mask.T
    except BadSourceFileError:
        return 0.0
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("padding", [-32768, -10_000, -8192, -2000, -1024])
def test_integer_padding_is_not_background(write_nifti: Writer, padding: int) -> None:
    scan = _padded(np.rint(_scan(-1000, 500, 50)), padding)
    assert _overlap(write_nifti(scan.astype(np.int16))) >= 0.98


@pytest.mark.parametrize("padding", [LOWEST_FLOAT, -1e30, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", [ROUND_FIELD, RADIUS <= 19], ids=["a cylinder", "a ball"])
def test_floating_point_padding_is_not_background(write_nifti: Writer, padding: float, field: np.ndarray) -> None:
    scan = _padded(_scan(0.0, 0.35, 0.03), padding, field)
    assert _overlap(write_nifti(scan.astype(np.float32), "a.nii")) >= 0.98


@pytest.mark.parametrize(("resin", "wall"), [(180, 230), (60, 180), (80, 130), (120, 200), (150, 190), (205, 245)])
@pytest.mark.parametrize("field", [ROUND_FIELD, RADIUS <= 19], ids=["a cylinder", "a ball"])
def test_resin_between_padding_and_wall_is_background(
    write_nifti: Writer, resin: int, wall: int, field: np.ndarray
) -> None:
    scan = _padded(np.clip(np.rint(_scan(resin, wall, 4)), 1, 255), 0, field)
    assert _overlap(write_nifti(scan.astype(np.uint8))) >= 0.98


@pytest.mark.parametrize("outliers", [1, 3])
@pytest.mark.parametrize("factor", [-100, -3, 3, 100, 1000])
@pytest.mark.parametrize(("background", "wall", "noise"), [(0.0, 0.35, 0.03), (-1000, 500, 50)])
def test_outliers_do_not_move_the_threshold(
    write_nifti: Writer, outliers: int, factor: float, background: float, wall: float, noise: float
) -> None:
    scan = _scan(background, wall, noise)
    scan.ravel()[np.random.default_rng(1).integers(0, scan.size, outliers)] = wall + factor * (wall - background)
    assert _overlap(write_nifti(scan.astype(np.float32))) >= 0.98


def test_a_streak_does_not_move_the_threshold(write_nifti: Writer) -> None:
    scan = _scan(40, 180, 6)
    scan[5, :, 7] = 4000
    scan[:, 41, 3] = -900
    assert _overlap(write_nifti(scan.astype(np.int16))) >= 0.98


def test_many_bright_specks_are_left_out_if_nothing_else_is_found(write_nifti: Writer) -> None:
    scan = _scan(40, 180, 6)
    scan.ravel()[np.random.default_rng(1).integers(0, scan.size, 100)] = 30_000
    assert _overlap(write_nifti(scan.astype(np.int16))) >= 0.98


def test_padding_of_two_values_and_outliers_are_left_out_together(write_nifti: Writer) -> None:
    scan = _padded(_scan(-1000, 500, 50), -32768)
    scan[:10][scan[:10] == -32768] = -8192
    scan[20, 24, 24], scan[40, 20, 20], scan[2, 20, 20] = 30_000, -20_000, 9000
    assert _overlap(write_nifti(scan.astype(np.int16))) >= 0.98


def test_a_masked_background_is_background_of_the_specimen(write_nifti: Writer) -> None:
    solid = RADIUS <= 14
    scan = np.where(solid, np.random.default_rng(0).normal(180, 20, solid.shape).clip(100, 255), 0)
    assert _overlap(write_nifti(scan.astype(np.uint8)), solid) >= 0.98
    far_scan = np.where(solid, scan, -32768)
    assert _overlap(write_nifti(far_scan.astype(np.int16)), solid) >= 0.98


def test_padding_has_the_grey_value_of_the_background_in_slices(write_nifti: Writer) -> None:
    scan = np.rint(_scan(180, 230, 4))
    padded_file = write_nifti(_padded(scan, 0).astype(np.uint8), "padded.nii.gz")
    padded, plain = find_specimen(read_volume(padded_file)), find_specimen(read_volume(write_nifti(scan)))
    np.testing.assert_allclose(padded.window, plain.window, atol=3)
    difference = np.abs(padded.grey.astype(int) - plain.grey)[~ROUND_FIELD.T]
    assert difference.mean() < 25


@pytest.mark.skipif(not CASES.is_dir(), reason="no cases beside the repository")
@pytest.mark.parametrize(
    ("name", "edge", "outer", "inner"),
    [
        ("w1_pad_500_-32768", 48, 14, 10),
        ("w2_180_230", 48, 14, 10),
        ("w3_dark_-1", 32, 10, 7),
        ("v15_zinger_100", 32, 10, 7),
    ],
)
def test_reported_scans_show_the_hollow_ball(name: str, edge: int, outer: int, inner: int) -> None:
    radius = np.sqrt(((np.indices((edge,) * 3) - edge / 2) ** 2).sum(axis=0))
    assert _overlap(CASES / f"{name}.nii.gz", (radius <= outer) & (radius > inner)) >= 0.98
