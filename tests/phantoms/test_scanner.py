"""The artefacts of the scanner, each one alone."""

import numpy as np
import pytest

from components.phantoms.scanner import (
    ARTEFACTS,
    CLEAN,
    CUPPING,
    GRADIENT,
    NOISE,
    add_gradient,
    add_noise,
    add_rings,
    add_sediment,
    blur,
    contrast,
    harden_beam,
    scan,
    slice_thickness,
    smooth_noise,
    thicken_slices,
)
from components.phantoms.specimen import make_specimen

EDGE = 48


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    axis = np.arange(EDGE) - (EDGE - 1) / 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    return np.where(np.clip(18 - radius, 0, 1) > 0, 180.0, 30.0).astype(np.float32)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_strength_zero_is_the_identity(name, ball):
    np.testing.assert_array_equal(ARTEFACTS[name](ball, 0.0, rng()), ball)


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_an_artefact_is_repeatable_and_keeps_its_input(name, ball):
    before = ball.copy()
    first, second = ARTEFACTS[name](ball, 1.0, rng()), ARTEFACTS[name](ball, 1.0, rng())
    np.testing.assert_array_equal(ball, before)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert not np.array_equal(first, ball)


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_a_stronger_artefact_changes_more(name, ball):
    weak, strong = (np.abs(ARTEFACTS[name](ball, strength, rng()) - ball).mean() for strength in (0.5, 2.0))
    assert strong > 1.5 * weak


@pytest.mark.parametrize("name", list(ARTEFACTS))
def test_amplitudes_follow_the_contrast_of_the_volume(name, ball):
    change = ARTEFACTS[name](ball, 1.0, rng()) - ball
    brighter = ARTEFACTS[name](10 * ball + 7, 1.0, rng()) - (10 * ball + 7)
    np.testing.assert_allclose(brighter, 10 * change, atol=0.05)


def test_a_clean_scan_is_the_volume_itself(ball):
    np.testing.assert_array_equal(scan(ball, CLEAN, rng()), ball)


def test_noise_has_the_documented_deviation(ball):
    _, span = contrast(ball)
    change = add_noise(ball, 1.0, rng()) - ball
    assert change.std() == pytest.approx(NOISE * span, rel=0.02)
    assert abs(change.mean()) < 0.01 * span


def test_blur_keeps_the_mean_and_softens_edges(ball):
    soft = blur(ball, 2.0, rng())
    assert soft.mean() == pytest.approx(ball.mean(), rel=1e-3)
    assert np.abs(np.diff(soft, axis=0)).max() < np.abs(np.diff(ball, axis=0)).max()


def test_rings_are_equal_in_every_slice_and_centred_on_the_axis(ball):
    change = add_rings(ball, 1.0, rng()) - ball
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :, :1], change.shape), atol=1e-4)
    np.testing.assert_allclose(change, change[::-1].transpose(1, 0, 2), atol=1e-4)


def test_beam_hardening_darkens_the_middle_more_than_the_rim(ball):
    image = harden_beam(ball, 1.0, rng())
    middle = EDGE // 2
    low, span = contrast(ball)
    assert image[middle, middle, middle] == pytest.approx(low + (1 - CUPPING) * span, rel=0.01)
    assert image[middle + 16, middle, middle] > image[middle, middle, middle]


def test_the_gradient_is_linear_and_has_the_documented_slope(ball):
    change = add_gradient(ball, 1.0, rng()) - ball
    _, span = contrast(ball)
    slopes = [np.diff(change, axis=axis) for axis in range(3)]
    assert all(slope.std() < 1e-3 for slope in slopes)
    steepness = np.sqrt(sum(float(slope.mean()) ** 2 for slope in slopes)) * (EDGE - 1)
    assert steepness == pytest.approx(GRADIENT * span, rel=0.01)


def test_sediment_is_only_on_the_outside_of_the_material(ball):
    change = add_sediment(ball, 1.0, rng()) - ball
    assert (change >= 0).all()
    assert not change[ball > 100].any()
    axis = np.arange(EDGE) - (EDGE - 1) / 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    assert radius[change > 0].max() < 18 + 4


def test_slice_thickness_is_one_for_about_half_of_the_specimens():
    generator = rng()
    assert {slice_thickness(0.0, generator) for _ in range(20)} == {1.0}
    thicknesses = [slice_thickness(1.0, generator) for _ in range(400)]
    assert 0.4 < np.mean([one == 1.0 for one in thicknesses]) < 0.6
    assert max(thicknesses) <= 1.6


def test_thicker_slices_keep_the_sampled_positions():
    ramp = np.broadcast_to(np.arange(EDGE, dtype=np.float32), (4, 4, EDGE)).copy()
    volume, zooms = thicken_slices(ramp, (0.01, 0.01, 0.01), 1.5)
    np.testing.assert_allclose(volume[0, 0], 1.5 * np.arange(volume.shape[2]), atol=1e-4)
    assert zooms == pytest.approx((0.01, 0.01, 0.015))


def test_smooth_noise_is_smooth_and_between_minus_one_and_one():
    noise = smooth_noise((40, 40, 40), 10.0, rng())
    assert np.abs(noise).max() <= 1
    assert np.abs(np.diff(noise, axis=0)).max() < 0.5
    assert noise.std() > 0.1


def test_a_specimen_has_each_configured_artefact():
    clean = make_specimen("Elphidiella", 1, 32, 0, CLEAN)
    for name in ARTEFACTS:
        specimen = make_specimen("Elphidiella", 1, 32, 0, CLEAN.model_copy(update={name: 2.0}))
        assert (specimen.volume != clean.volume).mean() > 0.001, name
        np.testing.assert_array_equal(specimen.mask, clean.mask)
