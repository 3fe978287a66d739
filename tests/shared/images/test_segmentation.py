"""Slices are segmented as published, and segmenting them again changes nothing."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from skimage import morphology
from skimage.filters import threshold_otsu
from skimage.measure import label

from components.shared.images.decoding import Pixels, decode_image, encode_png
from components.shared.images.segmentation import (
    largest_component,
    remove_small_objects,
    segment_slice,
    specimen_mask,
)


def _published_mask(image: Pixels) -> NDArray[np.bool_]:
    """Return the mask by the recipe of arXiv 2512.00912 with scikit-image, at 224 px."""
    smooth = cv2.GaussianBlur(image, (3, 3), 0)
    bright = morphology.remove_small_objects(smooth > threshold_otsu(smooth), max_size=199)
    labels = label(morphology.closing(morphology.remove_small_holes(bright, max_size=99), morphology.disk(2)))
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax()


def _chambers(seed: int, edge: int = 224) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return a raw slice through a chambered shell with noise, and its true mask: a disk of rings and radial walls."""
    rng = np.random.default_rng(seed)
    row, column = np.indices((edge, edge)) - edge / 2 + rng.uniform(-10, 10, size=(2, 1, 1))
    radius = np.hypot(row * rng.uniform(0.7, 1.3), column) / edge
    angle = np.arctan2(row, column)
    outer = rng.uniform(0.2, 0.36)
    walls = (np.abs(radius % 0.09 - 0.045) < 0.018) | (np.abs(np.sin(angle * rng.integers(2, 6))) < 0.2)
    truth = (radius < outer) & (walls | (radius > outer - 0.025))
    grey = cv2.GaussianBlur(30 + 140 * truth.astype(np.float32), (0, 0), 0.8) + rng.normal(0, 8, truth.shape)
    return grey.clip(0, 255).astype(np.uint8), truth


def _overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_the_mask_agrees_with_the_published_recipe() -> None:
    slices = [_chambers(seed)[0] for seed in range(30)]
    assert np.mean([_overlap(specimen_mask(image), _published_mask(image)) for image in slices]) >= 0.99


def test_the_mask_agrees_with_the_true_mask() -> None:
    assert np.mean([_overlap(specimen_mask(image), truth) for image, truth in map(_chambers, range(30))]) >= 0.9


def test_segmenting_is_faster_than_the_published_recipe() -> None:
    slices = [_chambers(seed)[0] for seed in range(40)]
    seconds = {}
    for work in (_published_mask, segment_slice):
        start = time.process_time()
        for image in slices:
            work(image)
        seconds[work] = time.process_time() - start
    assert seconds[_published_mask] > 2 * seconds[segment_slice]  # about 6 on a quiet machine


@pytest.mark.parametrize("edge", [32, 64, 224, 500])
def test_segmenting_a_segmented_slice_changes_nothing(edge: int) -> None:
    for seed in range(10):
        once = segment_slice(_chambers(seed, edge)[0])
        assert 0 < (once > 0).mean() < 1
        np.testing.assert_array_equal(segment_slice(once), once)
        np.testing.assert_array_equal(segment_slice(decode_image(encode_png(once), 1)), once)


_SIZES = st.tuples(st.integers(1, 48), st.integers(1, 48))


@settings(max_examples=400, deadline=None)
@given(image=arrays(np.uint8, _SIZES, elements=st.integers(0, 255), fill=st.sampled_from([0, 1, 2, 90, 255])))
def test_segmenting_any_image_twice_changes_nothing(image: Pixels) -> None:
    once = segment_slice(image)
    np.testing.assert_array_equal(segment_slice(once), once)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    edge=st.integers(8, 160),
    smooth=st.floats(0.3, 6),
    levels=st.sampled_from([2, 3, 8, 256]),
    black=st.floats(0, 0.9),
)
def test_segmenting_random_shapes_twice_changes_nothing(
    seed: int, edge: int, smooth: float, levels: int, black: float
) -> None:
    field = cv2.GaussianBlur(np.random.default_rng(seed).random((edge, edge)), (0, 0), smooth)
    field = (field - field.min()) / np.ptp(field)
    grey = np.floor(field * levels).clip(0, levels - 1) * (255 / (levels - 1))
    image = np.where(field < black, 0, grey).astype(np.uint8)
    before = image.copy()
    once = segment_slice(image)
    np.testing.assert_array_equal(segment_slice(once), once)
    np.testing.assert_array_equal(image, before)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), smooth=st.floats(0.3, 4))
def test_the_specimen_is_one_object_with_its_grey_values(seed: int, smooth: float) -> None:
    field = cv2.GaussianBlur(np.random.default_rng(seed).random((80, 80)), (0, 0), smooth)
    image = cv2.normalize(field, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    result = segment_slice(image)
    inside = result > 0
    assert label(inside).max() <= 1
    assert np.abs(result[inside].astype(int) - image[inside]).max(initial=0) <= 1


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**6), edge=st.integers(3, 90), smooth=st.floats(0.4, 4), smallest=st.integers(1, 60))
def test_objects_by_tracing_equal_objects_by_labelling(seed: int, edge: int, smooth: float, smallest: int) -> None:
    field = cv2.GaussianBlur(np.random.default_rng(seed).random((edge, edge)), (0, 0), smooth)
    mask = (field > np.median(field)).astype(np.uint8)
    labels = label(mask, connectivity=2)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    # the size of an object excludes its holes and everything inside them
    large = remove_small_objects(mask.copy(), smallest).astype(bool)
    assert not (large & (areas < smallest)[labels]).any()
    assert all(large[labels == index].all() or not large[labels == index].any() for index in range(1, len(areas)))
    if areas.any():
        largest = largest_component(mask.copy())
        assert np.unique(labels[largest > 0]).size == 1
        assert largest.sum() == areas[labels[largest > 0][0]]


def test_a_scan_in_a_round_field_of_view_counts_as_raw() -> None:
    image, truth = _chambers(1)
    row, column = np.indices(image.shape) - 112
    view = np.where(np.hypot(row, column) < 108, image.clip(20), 0).astype(np.uint8)
    assert _overlap(segment_slice(view) > 0, truth) >= 0.9


@pytest.mark.parametrize("grey", [0, 1, 128, 255])
def test_a_uniform_slice_has_no_specimen(grey: int) -> None:
    assert not segment_slice(np.full((64, 64), grey, np.uint8)).any()


def test_specks_are_not_a_specimen() -> None:
    image = np.zeros((224, 224), np.uint8)
    image[::20, ::20] = 255
    assert not segment_slice(image).any()


def test_the_time_of_large_noisy_slices_grows_with_their_pixels() -> None:
    seconds = []
    for edge in (1500, 3000):
        noise = np.random.default_rng(0).integers(0, 256, (edge, edge), dtype=np.uint8)
        start = time.process_time()
        segment_slice(noise)
        seconds.append(time.process_time() - start)
    assert seconds[1] < 8 * seconds[0]  # 16 times with the fourth power of the edge


@pytest.mark.parametrize("shape", [(2100, 1501), (2000, 4099)])
def test_segmenting_a_large_slice_twice_changes_nothing(shape: tuple[int, int]) -> None:
    image, truth = (cv2.resize(part.astype(np.uint8), shape[::-1]) for part in _chambers(1))
    once = segment_slice(image)
    np.testing.assert_array_equal(segment_slice(once), once)
    assert _overlap(once > 0, truth > 0) >= 0.9


def test_segmenting_in_blocks_preserves_the_mask() -> None:
    image, _ = _chambers(1)
    large = image.repeat(12, axis=0).repeat(12, axis=1)
    small = image.repeat(6, axis=0).repeat(6, axis=1)
    np.testing.assert_array_equal(specimen_mask(large)[::2, ::2], specimen_mask(small))
