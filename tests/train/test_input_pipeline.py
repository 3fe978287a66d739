"""Slices on their way into the network."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.shared.preprocessing import decode_and_crop
from components.shared.slices import iterate_split, read_info
from components.train.augmentation import augment
from components.train.input_pipeline import held_out_batches, steps_per_epoch, training_batches
from components.train.recipe import Recipe

STILL = Recipe(rotation=0, zoom=0, contrast=0)


def disk(edge: int = 33) -> np.ndarray:
    rows, columns = np.mgrid[:edge, :edge] - edge // 2
    return np.where(np.hypot(rows, columns) < 12, 200, 0).astype(np.uint8)[None, ..., None]


def test_the_same_seed_gives_the_same_view_and_another_seed_another() -> None:
    rng = np.random.default_rng(0)
    slices = tf.constant(rng.integers(0, 256, (4, 32, 32, 1), dtype=np.uint8))
    first, again, other = (augment(slices, tf.constant([1, seed], tf.int64), Recipe()) for seed in (2, 2, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_augmentation_of_no_strength_shows_the_slice_or_its_mirror_image() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 1), dtype=np.uint8)
    views = augment(tf.constant(slices), tf.constant([5, 6], tf.int64), STILL).numpy()
    mirrored = [bool(np.array_equal(view, piece[:, ::-1])) for view, piece in zip(views, slices, strict=True)]
    same = [bool(np.array_equal(view, piece)) for view, piece in zip(views, slices, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert any(mirrored)
    assert any(same)


def test_a_rotation_turns_about_the_centre() -> None:
    view = augment(tf.constant(disk()), tf.constant([1, 2], tf.int64), Recipe(zoom=0, contrast=0)).numpy()
    weights = view[0, ..., 0].astype(float)
    centre = [float((axis * weights).sum() / weights.sum()) for axis in np.mgrid[:33, :33]]
    assert centre == pytest.approx([16, 16], abs=0.1)
    assert weights.sum() == pytest.approx(disk().sum(), rel=0.03)


def epochs_of(folder: Path, first_epoch: int, epochs: int) -> list[np.ndarray]:
    """Pixels float32 [7 x 16, 32, 32, 1] of each of so many epochs of seven batches."""
    recipe = Recipe(batch_size=16)
    batches = training_batches(folder, 32, 1, 3, 120, recipe, seed=4, first_epoch=first_epoch)
    seen = [slices.numpy() for slices, _ in batches.take(steps_per_epoch(120, recipe) * epochs)]
    return [np.concatenate(seen[first : first + 7]) for first in range(0, len(seen), 7)]


def test_training_slices_come_in_a_new_order_and_new_views_each_epoch(segmented_slices: Path) -> None:
    first, second = epochs_of(segmented_slices, 0, 2)
    assert not np.array_equal(first, second)


def test_an_epoch_looks_the_same_to_a_run_that_begins_with_it(segmented_slices: Path) -> None:
    whole, resumed = epochs_of(segmented_slices, 0, 3), epochs_of(segmented_slices, 2, 1)
    assert np.array_equal(whole[2], resumed[0])


def test_training_evaluation_and_serving_see_the_same_pixels_bit_by_bit(segmented_slices: Path) -> None:
    info = read_info(segmented_slices)
    batches = held_out_batches(segmented_slices, "test", info.image_size, info.channels, 3, 7)
    seen = np.concatenate([slices.numpy() for slices, _ in batches])
    served = [
        decode_and_crop(encoded, info.image_size, 1).numpy()
        for _, _, encoded in iterate_split(segmented_slices, "test")
    ]
    assert seen.dtype == np.float32
    assert np.array_equal(seen, np.stack(served).astype(np.float32))


def test_held_out_slices_keep_the_order_of_their_records(segmented_slices: Path) -> None:
    batches = held_out_batches(segmented_slices, "validation", 32, 1, 3, 7)
    labels = np.concatenate([one_hot.numpy().argmax(axis=1) for _, one_hot in batches])
    assert labels.tolist() == [label for _, label, _ in iterate_split(segmented_slices, "validation")]


@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_uncovered_corners_are_black_and_grey_values_stay_in_range(rotation: float) -> None:
    white = np.full((2, 32, 32, 1), 255, dtype=np.uint8)
    view = augment(tf.constant(white), tf.constant([1, 2], tf.int64), Recipe(rotation=rotation, contrast=0.2)).numpy()
    assert view.dtype == np.uint8
    assert view[:, 16, 16].min() >= 200
