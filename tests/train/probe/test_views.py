"""Cached views depend only on the slice and the seed, and each epoch takes one view of each slice."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from components.shared.slices import read_info
from components.train.backbones.registry import InputSpec
from components.train.probe.table import FeatureTable, held_out_features, training_features, views_of_epoch
from components.train.probe.views import read_records, view_batches
from components.train.recipe import Recipe

SPEC = InputSpec(16, 1, 3)
RECIPE = Recipe(weights="a file.h5", frozen_epochs=1, probe_views=4, batch_size=8)


def views(folder: Path, split: str, rows: list[int], first: int, count: int, seed: int = 3) -> np.ndarray:
    batches = view_batches(folder, split, np.array(rows, np.int64), first, count, SPEC, RECIPE, seed)
    return np.stack(list(batches.as_numpy_iterator()))


def test_views_are_a_function_of_the_slice_and_the_seed(segmented_slices: Path) -> None:
    everything = views(segmented_slices, "train", [0, 1, 5], 0, 4)
    assert np.array_equal(views(segmented_slices, "train", [5], 1, 3)[0], everything[2, 1:])
    assert np.array_equal(views(segmented_slices, "train", [0, 5], 0, 1)[:, 0], everything[[0, 2], 0])
    assert not np.array_equal(views(segmented_slices, "train", [5], 1, 3, seed=4)[0], everything[2, 1:])
    assert len({view.tobytes() for view in everything.reshape(12, -1)}) == 12


def test_labels_are_read_in_the_order_of_the_split(segmented_slices: Path) -> None:
    labels = read_records(segmented_slices, "validation", 3)
    assert len(labels.ids) == read_info(segmented_slices).slices("validation") == len(set(labels.ids))
    assert set(labels.labels.tolist()) == {0, 1, 2}


def test_every_view_of_a_slice_occurs_before_one_is_repeated() -> None:
    epochs = np.stack([views_of_epoch(50, 4, 7, epoch) for epoch in range(8)])
    for cycle in (epochs[:4], epochs[4:]):
        assert np.array_equal(np.sort(cycle, axis=0), np.tile(np.arange(4), (50, 1)).T)
    assert not np.array_equal(epochs[:4], epochs[4:])
    assert len(set(epochs[0].tolist())) > 1


def table() -> FeatureTable:
    rows = np.arange(80).reshape(20, 4)
    matrix = np.stack([rows // 4, rows % 4], axis=-1).reshape(80, 2).astype(np.float16)
    return FeatureTable(matrix, rows, np.arange(20) % 3, (2, 1))


def test_an_epoch_has_each_slice_in_the_view_of_the_epoch() -> None:
    batches = training_features(table(), 3, RECIPE, 5, first_epoch=6).take(3)
    features, labels = (np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))
    slices = features[:, 0, 0].astype(int)
    assert set(slices[:20]) == set(range(20))
    assert np.array_equal(labels.argmax(axis=1), slices % 3)
    assert np.array_equal(features[:, 1, 0], views_of_epoch(20, 4, 5, 6)[slices])


def test_mixup_blends_features_and_labels_alike() -> None:
    recipe = RECIPE.model_copy(update={"mixup_alpha": 1.0, "mix_probability": 1.0})
    batches = training_features(table(), 3, recipe, 5).take(2)
    plain = training_features(table(), 3, RECIPE, 5).take(2)
    for (mixed, labels), (features, _) in zip(batches, plain, strict=True):
        assert not np.allclose(mixed, features)
        assert np.allclose(tf.reduce_sum(labels, axis=1), 1)


def test_validation_uses_the_unchanged_view_in_order() -> None:
    batches = list(held_out_features(table(), 3, 16).as_numpy_iterator())
    features = np.concatenate([batch for batch, _ in batches])
    assert [len(batch) for batch, _ in batches] == [16, 4]
    assert np.array_equal(features[:, :, 0], [[number, 0] for number in range(20)])
