"""Slices on their way into the network: shards, decoding, cropping, shuffling, batches, augmentation."""

from pathlib import Path

import tensorflow as tf

from components.shared.preprocessing import decode_and_crop
from components.shared.slices import parse_example, shards_of
from components.train.augmentation import augment
from components.train.recipe import Recipe

CACHE_BYTES = 2 * 2**30
SHUFFLED_SLICES = 16384


def training_batches(
    folder: Path, image_size: int, channels: int, classes: int, slices: int, recipe: Recipe, seed: int
) -> tf.data.Dataset:
    """Reads the training split in a new order and new views at each iteration.

    Args:
        folder: a data set of slices.
        image_size: edge of the result in pixels.
        channels: 1 or 3.
        classes: number of species.
        slices: number of training slices, to decide about caching.
        recipe: batch size and strengths of augmentation.
        seed: of shuffling and augmentation.

    Returns:
        Batches of float32 [N, image_size, image_size, channels] and one-hot float32 [N, classes].
    """
    decoded = _decoded(folder, "train", image_size, channels)
    if slices * image_size**2 * channels <= CACHE_BYTES:
        decoded = decoded.cache()
    shuffled = decoded.shuffle(min(slices, SHUFFLED_SLICES), seed=seed, reshuffle_each_iteration=True)
    batches = shuffled.batch(recipe.batch_size, drop_remainder=slices >= recipe.batch_size)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2, drop_remainder=True)
    augmented = tf.data.Dataset.zip((batches, seeds)).map(
        lambda batch, draw: (tf.cast(augment(batch[0], draw, recipe), tf.float32), tf.one_hot(batch[1], classes)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    steps = max(1, slices // recipe.batch_size)
    return augmented.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)


def held_out_batches(
    folder: Path, split: str, image_size: int, channels: int, classes: int, batch_size: int
) -> tf.data.Dataset:
    """Reads a split once, in its order and as served: no augmentation.

    Returns:
        Batches of float32 [N, image_size, image_size, channels] and one-hot float32 [N, classes].
    """
    batches = _decoded(folder, split, image_size, channels).batch(batch_size)
    return batches.map(lambda slices, labels: (tf.cast(slices, tf.float32), tf.one_hot(labels, classes))).prefetch(2)


def _decoded(folder: Path, split: str, image_size: int, channels: int) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)])
    examples = records.map(parse_example)
    return examples.map(
        lambda example: (decode_and_crop(example["image"], image_size, channels), example["label"]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
