"""Batches of cached features for training and validation."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.files.matrix import FileMatrix
from components.train.augmentation import mix
from components.train.input_pipeline import epoch_size_of, permuted_rows, stateless_seed
from components.train.recipe import Recipe


@dataclass(frozen=True)
class FeatureTable:
    """One feature of the slices of a split.

    Attributes:
        matrix: Rows of the feature, float16 [R, D], in memory or in a file.
        rows: Row of each view of each slice, int64 [slices, views].
        labels: Label of each slice, int64 [slices].
        shape: Shape of a row in the network.
    """

    matrix: NDArray[np.float16] | FileMatrix
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    shape: tuple[int, ...]

    def batch(
        self, slices: NDArray[np.int64], views: NDArray[np.int64]
    ) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """Return features and labels of some slices, each in one view."""
        return self.matrix[self.rows[slices, views]], self.labels[slices]


def training_features(
    table: FeatureTable, classes: int, recipe: Recipe, seed: int, first_epoch: int = 0
) -> tf.data.Dataset:
    """Return an endless data set of training batches, each epoch in a new order and with one view of each slice.

    The views of a slice follow a permutation, a new one after all views. MixUp blends features instead of slices, as in
    Manifold Mixup (Verma et al. 2019, arXiv 1806.05236).

    Args:
        table: Features of the training slices.
        classes: Number of species.
        recipe: Batch size and MixUp.
        seed: Seed of order, views and MixUp.
        first_epoch: Number of the first epoch, counted from 0 over all phases.

    Returns:
        Batches of float32 [N, ...] and float32 [N, classes] with rows of sum 1.
    """
    epoch_size = epoch_size_of(len(table.labels), recipe)
    return (
        tf.data.Dataset.counter(first_epoch * epoch_size.steps)
        .map(lambda step: _mixed_batch(table, step, classes, recipe, seed), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(2)
    )


def held_out_features(table: FeatureTable, classes: int, batch_size: int) -> tf.data.Dataset:
    """Return the first view of all slices in their order, in batches of at most `batch_size`."""
    slices = tf.data.Dataset.range(len(table.labels)).batch(batch_size)
    return slices.map(lambda rows: _gather(table, rows, tf.zeros_like(rows), classes)).prefetch(2)


def views_of_epoch(slices: int, views: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the number of the view of each slice in an epoch, int64 [slices]; all views occur in `views` epochs."""
    return _permuted_views(slices, views, seed, epoch // views)[:, epoch % views]


@lru_cache(maxsize=2)
def _permuted_views(slices: int, views: int, seed: int, cycle: int) -> NDArray[np.int64]:
    numbers = np.tile(np.arange(views), (slices, 1))
    return np.random.default_rng([seed, cycle]).permuted(numbers, axis=1)


def _mixed_batch(
    table: FeatureTable, step: tf.Tensor, classes: int, recipe: Recipe, seed: int
) -> tuple[tf.Tensor, tf.Tensor]:
    epoch_size = epoch_size_of(len(table.labels), recipe)
    rows = permuted_rows(step, epoch_size, seed)
    views = tf.numpy_function(
        lambda epoch, slices: views_of_epoch(len(table.labels), table.rows.shape[1], seed, int(epoch))[slices],
        [step // epoch_size.steps, rows],
        tf.int64,
        stateful=False,
    )
    features, labels = _gather(table, rows, views, classes)
    return mix(features, labels, stateless_seed(seed, step), recipe)


def _gather(table: FeatureTable, slices: tf.Tensor, views: tf.Tensor, classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    features, labels = tf.numpy_function(table.batch, [slices, views], (tf.float16, tf.int64), stateful=False)
    rows = tf.reshape(tf.cast(features, tf.float32), [-1, *table.shape])
    count = slices.shape[0]
    return tf.ensure_shape(rows, [count, *table.shape]), tf.one_hot(tf.ensure_shape(labels, [count]), classes)
