"""Planes follow their schedule and are sampled exactly."""

import numpy as np
import pytest
from scipy.ndimage import affine_transform, map_coordinates, rotate
from scipy.spatial.transform import Rotation

from components.shared.volumes.formats.base import Volume
from components.shared.volumes.plane_sampling import mask_coverage, sample_plane
from components.shared.volumes.plane_schedules import (
    MARGIN,
    ROTATIONS_DEGREES,
    Cut,
    frame_of,
    published_cuts,
    random_cuts,
)
from components.shared.volumes.specimen import Specimen, find_specimen


def _specimen(ball: np.ndarray, zooms: tuple[float, float, float] = (0.1, 0.1, 0.1)) -> Specimen:
    return find_specimen(Volume(ball, np.array(zooms), float(ball.min()), float(ball.max()), ""))


def _grid(corner: np.ndarray, down: np.ndarray, across: np.ndarray, edge: int) -> np.ndarray:
    rows, columns = np.arange(edge)[None, :, None], np.arange(edge)[None, None, :]
    return corner[:, None, None] + rows * down[:, None, None] + columns * across[:, None, None]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("seed", range(5))
def test_a_plane_equals_the_interpolation_of_scipy(dtype: type, seed: int) -> None:
    rng = np.random.default_rng(seed)
    volume = (255 * rng.random((30, 40, 50))).astype(dtype)
    rotation = Rotation.random(random_state=seed).as_matrix()
    corner = np.array([15.0, 20.0, 25.0]) - 40 * (rotation[1] + rotation[2]) * 0.7
    position = (corner, rotation[1] * 0.7, rotation[2] * 0.7, 80)
    reference = map_coordinates(volume, _grid(*position), order=1, cval=9.0, output=np.float64)
    assert np.abs(sample_plane(volume, *position, 9.0) - reference).max() <= 255e-5


def test_the_last_voxels_are_reached_exactly() -> None:
    volume = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    position = (np.array([9.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0]), 10)
    np.testing.assert_array_equal(sample_plane(volume, *position, -1.0), volume[9])


def test_a_plane_equals_rotating_the_volume_and_slicing_it(ball: np.ndarray) -> None:
    specimen = _specimen(ball)
    rotation = Rotation.from_rotvec([0.3, -0.8, 0.5]).as_matrix()
    edge, centre = 33, (np.array(ball.shape) - 1) / 2
    middle = np.array([16.0, 16.0, 16.0])
    volume = affine_transform(
        specimen.grey,
        rotation.T,
        offset=centre - rotation.T @ middle,
        output_shape=(edge,) * 3,
        order=1,
        output=np.float32,
    )
    corner = centre - 16 * (rotation[1] + rotation[2])
    plane = sample_plane(specimen.grey, corner, rotation[1], rotation[2], edge, 0.0)
    assert (np.abs(np.rint(plane) - np.rint(volume[16])) <= 1).mean() >= 0.999


@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("degrees", ROTATIONS_DEGREES)
def test_planes_of_published_rotations_equal_rotating_the_volume(
    ball: np.ndarray, axes: tuple[int, int], degrees: int
) -> None:
    grey, (normal, _) = _specimen(ball).grey, axes
    reference = rotate(grey, degrees, axes, reshape=False, order=1, output=np.float32).take(15, axis=normal)
    rotation, middle = np.eye(3), (np.array(grey.shape) - 1) / 2
    rotation[np.ix_(axes, axes)] = _in_plane(degrees)
    down, across = np.delete(np.eye(3), normal, axis=0)
    corner = middle + rotation @ (15 * np.eye(3)[normal] - middle)
    plane = sample_plane(grey, corner, rotation @ down, rotation @ across, max(reference.shape), 0.0)
    plane = plane[: reference.shape[0], : reference.shape[1]]
    assert np.ptp(plane) > 100
    assert (np.abs(np.rint(plane) - np.rint(reference)) <= 1).mean() >= 0.999


def _in_plane(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def test_coverage_counts_the_nearest_voxels(ball: np.ndarray) -> None:
    specimen = _specimen(ball)
    rotation = Rotation.from_rotvec([0.2, 0.1, -0.4]).as_matrix()
    position = (np.array([12.0, 14.0, 16.0]) - 15 * (rotation[1] + rotation[2]), rotation[1], rotation[2], 31)
    nearest = map_coordinates(specimen.mask.astype(np.uint8), _grid(*position), order=0, mode="grid-constant")
    assert mask_coverage(specimen.mask, *position) == pytest.approx(nearest.mean(), abs=2 / 31**2)


def test_the_frame_fits_the_specimen_at_any_orientation(ball: np.ndarray) -> None:
    specimen = _specimen(ball)
    for cut, _ in zip(random_cuts(specimen, np.random.default_rng(1)), range(50), strict=False):
        middle = frame_of(Cut(cut.directions, 0.5, ""), specimen, 64)
        plane = sample_plane(specimen.mask.astype(np.float32), middle.corner, middle.down, middle.across, 64, 0.0) > 0.5
        assert not plane[[0, -1]].any()
        assert not plane[:, [0, -1]].any()
        rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 >= 0.8 * 64 * (1 - 2 * MARGIN)


def test_pixels_are_square_in_millimetres_for_any_voxels(ball: np.ndarray) -> None:
    specimen = _specimen(ball, zooms=(0.3, 0.1, 0.2))
    cut = next(random_cuts(specimen, np.random.default_rng(0)))
    frame = frame_of(cut, specimen, 64)
    for step in (frame.down, frame.across):
        assert np.linalg.norm(step * specimen.zooms_mm) == pytest.approx(frame.spacing_mm)


def test_a_ball_scanned_with_long_voxels_is_round(ball: np.ndarray) -> None:
    specimen = _specimen(np.ascontiguousarray(ball[::2]), zooms=(0.2, 0.1, 0.1))
    for cut, _ in zip(random_cuts(specimen, np.random.default_rng(2)), range(10), strict=False):
        frame = frame_of(Cut(cut.directions, 0.5, ""), specimen, 64)
        plane = sample_plane(specimen.grey, frame.corner, frame.down, frame.across, 64, 0.0) > 128
        height, width = np.ptp(np.flatnonzero(plane.any(axis=1))), np.ptp(np.flatnonzero(plane.any(axis=0)))
        assert abs(int(height) - int(width)) <= 6


def test_random_planes_have_no_preferred_direction(ball: np.ndarray) -> None:
    cuts = random_cuts(_specimen(ball), np.random.default_rng(0))
    directions = np.array([next(cuts).directions for _ in range(4000)])
    np.testing.assert_allclose(
        directions @ directions.transpose(0, 2, 1), np.broadcast_to(np.eye(3), directions.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(directions), 1)
    for rows in directions.transpose(1, 0, 2):
        assert np.abs(rows.mean(axis=0)).max() < 0.04
        np.testing.assert_allclose(rows.T @ rows / len(rows), np.eye(3) / 3, atol=0.03)


def test_the_published_schedule_has_3_axes_and_24_rotations(ball: np.ndarray) -> None:
    specimen = _specimen(ball)
    cuts = list(published_cuts(specimen, np.random.default_rng(0)))
    series = {cut.description.split(",")[0] for cut in cuts}
    rotations = {f"turned by {angle} degrees about {axis}" for angle in ROTATIONS_DEGREES for axis in "zyx"}
    assert series == rotations | {"axis z", "axis y", "axis x"}
    assert len(cuts) == pytest.approx(27 * np.ptp(specimen.outline, axis=0).mean() / 0.1, rel=0.1)
    for cut in cuts:
        np.testing.assert_allclose(cut.directions @ cut.directions.T, np.eye(3), atol=1e-12)
        if cut.description.startswith("axis"):
            along = cut.directions[0]["zyx".index(cut.description[5])]
            assert np.degrees(np.arccos(along)) <= np.hypot(5, 5)
