"""Descriptors are finite, exact numbers with the meaning of their names."""

import cv2
import numpy as np
import pytest

from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS, describe, descriptor_names


def test_descriptors_do_not_depend_on_the_memory_address() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(1, 256, (224, 224), np.uint8), (5, 5), 1)
    allocations, results = [], set()
    for _ in range(200):
        allocations.append(np.empty(rng.integers(1, 3000), np.uint8))  # moves the next allocation
        results.add(tuple(describe(image.copy()).items()))
    assert len(results) == 1


def test_only_a_photograph_has_descriptors_of_colour() -> None:
    image = np.random.default_rng(0).integers(1, 255, (32, 40, 3), np.uint8)
    assert tuple(describe(image)) == descriptor_names(3) == (*DESCRIPTORS, *COLOUR_DESCRIPTORS)
    assert tuple(describe(image[..., 0])) == descriptor_names(1) == DESCRIPTORS
    assert set(describe(np.zeros((8, 8, 3), np.uint8)).values()) == {0.0}


def test_a_colour_cast_changes_colour_but_hardly_grey_descriptors() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(60, 190, (64, 64, 3), np.uint8), (5, 5), 2)
    warm = np.clip(image * np.array([1.3, 1.0, 0.6]), 1, 255).astype(np.uint8)
    before, after = describe(image), describe(warm)
    assert after["red_over_green"] > before["red_over_green"] + 20
    assert after["yellow_over_blue"] > before["yellow_over_blue"] + 20
    assert after["saturation"] > 2 * before["saturation"]
    assert abs(after["intensity_mean"] - before["intensity_mean"]) < 10


def test_a_grey_photograph_is_not_colourful() -> None:
    grey = np.repeat(np.random.default_rng(0).integers(1, 255, (32, 32, 1), np.uint8), 3, axis=2)
    assert [describe(grey)[name] for name in COLOUR_DESCRIPTORS] == [0.0] * len(COLOUR_DESCRIPTORS)


def test_descriptors_are_finite_and_named_for_any_slice() -> None:
    slice_ = np.zeros((60, 80), np.uint8)
    slice_[20:40, 30:70] = np.random.default_rng(0).integers(100, 255, (20, 40))
    for image in (slice_, np.zeros((5, 5), np.uint8), np.full((1, 1), 9, np.uint8), np.full((9, 9, 3), 7, np.uint8)):
        values = describe(image)
        assert tuple(values) == descriptor_names(1 if image.ndim == 2 else 3)
        assert np.isfinite(list(values.values())).all()


def test_descriptors_measure_their_names() -> None:
    smooth = np.zeros((64, 64), dtype=np.uint8)
    smooth[8:56, 16:48] = 128
    noisy = np.where(smooth > 0, smooth + np.random.default_rng(0).normal(0, 9, smooth.shape), 0).astype(np.uint8)
    plain, rough = describe(smooth), describe(noisy)
    assert plain["foreground_ratio"] == 48 * 32 / 64**2
    assert plain["box_aspect"] == pytest.approx(32 / 48)
    assert plain["intensity_mean"] == 128
    assert plain["noise_level"] == 0
    assert rough["noise_level"] == pytest.approx(9, rel=0.15)
    assert rough["entropy"] > plain["entropy"]
