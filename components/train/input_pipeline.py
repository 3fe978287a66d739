"""Slices on their way into the network: shards, decoding, cropping, shuffling, batches, augmentation."""

from pathlib import Path

import tensorflow as tf

from components.shared.preprocessing import decode_and_crop
from components.shared.slices import parse_example, shards_of
from components.train.augmentation import augment
from components.train.recipe import Recipe

CACHE_BYTES = 2 * 2**30
SHUFFLED_SLICES = 16384
ENDLESS = 2**62
SEEDS_OF_A_BATCH = 64


def training_batches(
    folder: Path,
    image_size: int,
    channels: int,
    classes: int,
    slices: int,
    recipe: Recipe,
    seed: int,
    first_epoch: int = 0,
) -> tf.data.Dataset:
    """Reads the training split epoch after epoch without an end, each in an order and views of its own.

    Order and views are a function of the seed and the epoch's number alone, so that a resumed run sees what the
    interrupted one would have seen.

    Args:
        folder: a data set of slices.
        image_size: edge of the result in pixels.
        channels: 1 or 3.
        classes: number of species.
        slices: number of training slices, to decide about caching.
        recipe: batch size and strengths of augmentation.
        seed: of shuffling and augmentation.
        first_epoch: the epoch that comes first.

    Returns:
        Batches of float32 [N, image_size, image_size, channels] and one-hot float32 [N, classes],
        `steps_per_epoch(slices, recipe)` of them for each epoch.
    """
    decoded = _decoded(folder, "train", image_size, channels)
    if slices * image_size**2 * channels <= CACHE_BYTES:
        decoded = decoded.cache()
    seeds = tf.data.Dataset.range(first_epoch, ENDLESS).map(
        lambda epoch: tf.stack([tf.constant(seed, tf.int64), epoch])
    )
    batches = seeds.flat_map(lambda epoch_seed: _epoch(decoded, slices, recipe, epoch_seed))
    return batches.map(
        lambda batch, labels, draw: (tf.cast(augment(batch, draw, recipe), tf.float32), tf.one_hot(labels, classes)),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(2)


def steps_per_epoch(slices: int, recipe: Recipe) -> int:
    """Returns how many batches an epoch has; what is left over is smaller than a batch and waits for the next order."""
    return max(1, slices // recipe.batch_size)


def _epoch(decoded: tf.data.Dataset, slices: int, recipe: Recipe, epoch_seed: tf.Tensor) -> tf.data.Dataset:
    """Shuffles and batches one epoch and gives each batch the int64 [2] seed of its views."""
    draws = tf.random.stateless_uniform([2], epoch_seed, maxval=tf.int64.max, dtype=tf.int64)
    shuffled = decoded.shuffle(min(slices, SHUFFLED_SLICES), seed=draws[0], reshuffle_each_iteration=False)
    batches = shuffled.batch(recipe.batch_size, drop_remainder=slices >= recipe.batch_size)
    return batches.enumerate().map(lambda number, batch: (*batch, tf.stack([draws[1], number * SEEDS_OF_A_BATCH])))


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
