"""Descriptors are the same numbers wherever an image lies in memory."""

import cv2
import numpy as np

from components.shared.images.descriptors import COLOUR_DESCRIPTORS, DESCRIPTORS, describe, descriptor_names


def test_descriptors_do_not_depend_on_the_place_in_memory() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(1, 256, (224, 224), np.uint8), (5, 5), 1)
    kept, seen = [], set()
    for _ in range(200):
        kept.append(np.empty(rng.integers(1, 3000), np.uint8))  # moves what is allocated next
        seen.add(tuple(describe(image.copy()).items()))
    assert len(seen) == 1


def test_a_grey_slice_has_no_colour_and_a_photograph_has() -> None:
    image = np.random.default_rng(0).integers(1, 255, (32, 40, 3), np.uint8)
    assert tuple(describe(image)) == descriptor_names(3) == (*DESCRIPTORS, *COLOUR_DESCRIPTORS)
    assert tuple(describe(image[..., 0])) == descriptor_names(1) == DESCRIPTORS
    assert set(describe(np.zeros((8, 8, 3), np.uint8)).values()) == {0.0}


def test_a_colour_cast_moves_what_describes_colour_and_hardly_what_describes_grey() -> None:
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
