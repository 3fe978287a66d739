"""The growth model, compared with its formula."""

import numpy as np
import pytest

from components.phantoms.anatomy.fields import Points
from components.phantoms.anatomy.growth import GROWTH_RULES, Shell, grow, grown_form, rotate

PARAMETERS = [(1.12, 0.5, 130.0, -20.0, 9), (1.15, -0.7, 72.0, 150.0, 9), (1.2, -0.2, 90.0, 70.0, 7)]


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_each_radius_is_gf_times_the_last(parameters):
    shell = grow(*parameters)
    assert len(shell.radii) >= 4
    np.testing.assert_allclose(shell.radii[1:] / shell.radii[:-1], parameters[0])


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_each_centre_is_tf_radii_from_the_last_aperture(parameters):
    shell = grow(*parameters)
    steps = shell.centres[1:] - shell.apertures[:-1]
    np.testing.assert_allclose(steps, parameters[1] * shell.radii[:-1, None] * shell.directions[1:], atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(shell.directions, axis=1), 1.0)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_the_growth_vector_deviates_by_phi_from_the_last_step(parameters):
    shell = grow(*parameters)
    old = shell.apertures[1:-1] - shell.apertures[:-2]
    old = old / np.linalg.norm(old, axis=1, keepdims=True)
    angles = np.rad2deg(np.arccos(np.sum(old * shell.directions[2:], axis=1)))
    np.testing.assert_allclose(angles, parameters[2], atol=1e-6)


def test_beta_rotates_the_growth_vector_out_of_the_plane():
    shell = grow(1.12, 0.5, 130.0, 25.0, 8)
    for i in range(3, 8):
        first, second, third = shell.apertures[i - 3 : i]
        normal = np.cross(second - first, third - second)
        out_of_plane = shell.directions[i] @ normal / np.linalg.norm(normal)
        assert abs(out_of_plane) == pytest.approx(np.sin(np.deg2rad(130)) * np.sin(np.deg2rad(25)), abs=1e-6)


def test_without_beta_all_apertures_stay_in_one_plane():
    shell = grow(1.12, 0.5, 135.0, 0.0, 8)
    assert np.abs(shell.centres[:, 2]).max() < 1e-9


def turns_of(shell: Shell) -> np.ndarray:
    steps = np.diff(shell.centres, axis=0)
    across, along = np.cross(steps[:-1], steps[1:])[:, 2], np.sum(steps[:-1] * steps[1:], axis=1)
    return np.rad2deg(np.arctan2(across, along))


def test_heterohelix_is_biserial_and_pelagica_planispiral():
    biserial = turns_of(grow(1.12, -0.25, 72.0, 0.0, 10))
    assert (biserial[:-1] * biserial[1:] < 0).all()
    planispiral = turns_of(grow(1.12, 0.5, 135.0, 0.0, 12))
    assert (planispiral[:-1] * planispiral[1:] > 0).all()
    assert np.abs(planispiral).sum() > 360


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_each_aperture_is_the_nearest_free_point_of_its_sphere(parameters):
    shell = grow(*parameters)
    rng = np.random.default_rng(0)
    for i in range(1, len(shell.radii)):
        aperture = shell.apertures[i]
        assert np.linalg.norm(aperture - shell.centres[i]) == pytest.approx(shell.radii[i])
        gaps = np.linalg.norm(aperture - shell.centres[:i], axis=1)
        assert (gaps >= shell.radii[:i] - 1e-9).all()
        others = rng.normal(size=(2000, 3))
        others = shell.centres[i] + shell.radii[i] * others / np.linalg.norm(others, axis=1, keepdims=True)
        outside = (np.linalg.norm(others[:, None] - shell.centres[:i], axis=2) >= shell.radii[:i]).all(axis=1)
        best = np.linalg.norm(others[outside] - shell.apertures[i - 1], axis=1).min()
        assert np.linalg.norm(aperture - shell.apertures[i - 1]) <= best + 1e-9


def test_a_quarter_turn_is_right_handed():
    vector = rotate(np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0]), 90.0)
    np.testing.assert_allclose(vector, [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("species", list(GROWTH_RULES))
def test_every_species_grows_several_chambers_over_its_range(species):
    rule = GROWTH_RULES[species]
    for share in (0.0, 0.5, 1.0):
        values = [low + share * (high - low) for low, high in (rule.gf, rule.tf, rule.phi, rule.beta)]
        assert len(grow(*values, chambers=rule.chambers[0]).radii) >= 4


def test_walls_are_a_twentieth_of_the_radius_or_the_minimum():
    x = np.linspace(-1, 1, 4001, dtype=np.float32)
    line = Points(x, np.zeros_like(x), np.zeros_like(x))
    rule = GROWTH_RULES["Uvula"]
    thin, thick = (
        (grown_form(rule, line, wall, np.random.default_rng(0)).shell > 0).sum() * 5e-4 for wall in (0.001, 0.08)
    )
    assert 0.005 < thin < thick
