"""Slices on their way into the network: shards, decoding, cropping, shuffling, batches, augmentation.

Order and views of a training epoch depend on the seed and the epoch's number alone, so that a resumed run sees what an
uninterrupted one would have seen.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.shared.errors import TrainingError
from components.shared.images.crops import decode_and_crop
from components.shared.slices import parse_example, read_info, shards_of
from components.train.augmentation import augment, mix
from components.train.recipe import Recipe

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

SHUFFLED_SLICES = 16384
INTERLEAVED_SHARDS = 16
_READ_AT_ONCE = 64
_SEED_OF_GRAPHS = 1


def steps_per_epoch(slices: int, recipe: Recipe) -> int:
    """Returns the steps in which every slice is seen: the last batch is filled up with slices seen before."""
    return math.ceil(slices / min(recipe.batch_size, slices))


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
    """Reads the training split without end, epoch after epoch, each in a new order and in new views.

    Hand `steps_per_epoch` to `fit`. All batches have one shape; where the
    last of an epoch has to be filled up, some slices come twice, other ones each time.

    Args:
        folder: a data set of slices.
        image_size: edge of the result in pixels.
        channels: 1 or 3.
        classes: number of species.
        slices: number of training slices.
        recipe: batch size, memory for the cache, and strengths of augmentation.
        seed: of shuffling and augmentation.
        first_epoch: number of the epoch to begin with, counted from 0 over all phases.

    Returns:
        Batches of float32 [N, image_size, image_size, channels] in 0..255 and float32 [N, classes] with rows of sum 1.

    Raises:
        TrainingError: a shard is damaged or holds a label outside the classes (see `readable_shards`).
    """
    batch, steps = min(recipe.batch_size, slices), steps_per_epoch(slices, recipe)
    if slices * image_size**2 * channels <= recipe.cache_gigabytes * 2**30:
        table = _read_into_memory(folder, image_size, channels, classes, slices)
        batches = _batches_of_table(*table, batch, steps, seed, first_epoch)
    else:
        batches = _batches_of_shards(folder, image_size, channels, classes, (slices, batch, steps), seed, first_epoch)
    numbered = tf.data.Dataset.zip((tf.data.Dataset.counter(first_epoch * steps), batches))
    return numbered.map(
        lambda step, batch: _views(batch[0], batch[1], _stateless_seed(seed, step), classes, recipe),
        num_parallel_calls=tf.data.AUTOTUNE,
    ).prefetch(2)


def held_out_batches(
    folder: Path, split: str, image_size: int, channels: int, classes: int, batch_size: int, cache_gigabytes: float = 0
) -> tf.data.Dataset:
    """Reads a split once, in its order and as served: no augmentation.

    Args:
        folder: a data set of slices.
        split: one of `components.shared.slices.SPLITS`.
        image_size: edge of the result in pixels.
        channels: 1 or 3.
        classes: number of species.
        batch_size: slices per batch; the last one may be smaller.
        cache_gigabytes: memory in which decoded slices are kept for the next iteration, if all of them fit.

    Returns:
        Batches of uint8-valued float32 [N, image_size, image_size, channels] and one-hot float32 [N, classes].
    """
    decoded = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)]).map(
        lambda record: _decoded(record, image_size, channels, classes), num_parallel_calls=tf.data.AUTOTUNE
    )
    count = read_info(folder).slices(split)
    # fit warns of a set whose length it does not know
    batches = decoded.apply(tf.data.experimental.assert_cardinality(count)).batch(batch_size)
    if count * image_size**2 * channels <= cache_gigabytes * 2**30:
        batches = batches.cache()
    return batches.map(lambda images, labels: (tf.cast(images, tf.float32), tf.one_hot(labels, classes))).prefetch(2)


@contextmanager
def readable_shards(folder: Path) -> Iterator[None]:
    """Says which shard is damaged where TensorFlow, reading inside the block, says only that one is.

    Raises:
        TrainingError: a record's checksum does not fit, it holds no such image, or a label outside the classes; or the
            held-out slices are not as many as described.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError) as error:
        if "IteratorGetNext" not in str(error):  # the network's own error
            raise
        raise TrainingError(
            f"{folder} cannot be read ({_damage(folder, error)})", "whole shards", "Make the slices again."
        ) from error


def _views(
    slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, classes: int, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    view_seed, mixing_seed = tf.unstack(tf.random.split(seed, 2))
    return mix(augment(slices, view_seed, recipe), tf.one_hot(labels, classes), mixing_seed, recipe)


def _damage(folder: Path, error: Exception) -> str:
    """Names the first shard whose checksums do not fit, or else returns what TensorFlow said."""
    for shard in sorted(folder.glob("slices-*.tfrecord")):
        try:
            for _ in tf.data.TFRecordDataset(str(shard)):
                pass
        except tf.errors.DataLossError:
            return f"{shard.name} is damaged"
    said = str(getattr(error, "message", error))
    reason = (said.partition("[[")[0].strip().splitlines() or [""])[-1]
    return reason.rpartition("assertion failed: ")[2].strip()[:200]


def _read_into_memory(folder: Path, image_size: int, channels: int, classes: int, slices: int) -> tuple[Images, Labels]:
    """Reads the training split in its order into uint8 [slices, S, S, C] and int64 [slices]."""
    images = np.empty((slices, image_size, image_size, channels), np.uint8)
    labels = np.empty(slices, np.int64)
    read = 0
    with readable_shards(folder):
        for some, theirs in _as_recorded(folder, image_size, channels, classes).batch(_READ_AT_ONCE).prefetch(2):
            space = slices - read
            images[read : read + len(some)], labels[read : read + len(some)] = some[:space], theirs[:space]
            read += len(some)
    if read != slices:
        raise TrainingError(f"{folder} holds {read} training slices", str(slices), "Make the slices again.")
    return images, labels


def _as_recorded(folder: Path, image_size: int, channels: int, classes: int) -> tf.data.Dataset:
    return tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, "train")]).map(
        lambda record: _decoded(record, image_size, channels, classes), num_parallel_calls=tf.data.AUTOTUNE
    )


def _batches_of_table(
    images: Images, labels: Labels, batch: int, steps: int, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """Gathers the batches of each epoch's permutation, which is computed and not stored."""
    return tf.data.Dataset.counter(first_epoch * steps).map(
        lambda step: _rows(images, labels, _drawn_rows(step, len(labels), batch, steps, seed)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _rows(images: Images, labels: Labels, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gathers uint8 [N, S, S, C] and int64 [N] where they lie: a tensor of the whole table would be a second copy."""
    pieces, theirs = tf.numpy_function(
        lambda chosen: (images[chosen], labels[chosen]), [rows], (tf.uint8, tf.int64), stateful=False
    )
    return tf.ensure_shape(pieces, [len(rows), *images.shape[1:]]), tf.ensure_shape(theirs, [len(rows)])


def _drawn_rows(step: tf.Tensor, slices: int, batch: int, steps: int, seed: int) -> tf.Tensor:
    """Returns int64 [batch] rows of the table for a step; what fills up an epoch's last batch is drawn separately."""
    epoch, place = step // steps, (step % steps) * batch + tf.range(batch, dtype=tf.int64)
    last = tf.constant(slices - 1, tf.int64)
    once, again = (
        tf.random.experimental.index_shuffle(place % slices, _stateless_seed(seed, 2 * epoch + drawn), last)
        for drawn in (0, 1)
    )
    return tf.where(place < slices, once, again)


def _batches_of_shards(
    folder: Path,
    image_size: int,
    channels: int,
    classes: int,
    counts: tuple[int, int, int],
    seed: int,
    first_epoch: int,
) -> tf.data.Dataset:
    """Shuffles encoded slices of several shards at once, which needs a tenth of the memory of decoded ones.

    Args:
        folder: a data set of slices.
        image_size: edge of the result in pixels.
        channels: 1 or 3.
        classes: number of species.
        counts: slices of an epoch, of a batch, and steps of an epoch.
        seed: of the order.
        first_epoch: to begin with.
    """
    slices, batch, steps = counts
    shards = tf.constant([str(shard) for shard in shards_of(folder, "train")])
    records = tf.data.Dataset.counter(first_epoch).flat_map(
        lambda epoch: _records_of_epoch(shards, slices, steps * batch - slices, _stateless_seed(seed, epoch))
    )
    decoded = records.map(
        lambda record: _decoded(record, image_size, channels, classes), num_parallel_calls=tf.data.AUTOTUNE
    )
    return decoded.batch(batch, drop_remainder=True)


def _records_of_epoch(shards: tf.Tensor, slices: int, filling: int, seed: tf.Tensor) -> tf.data.Dataset:
    """Reads shards in a random order and shuffles their records; `filling` of them come twice."""
    order = tf.random.experimental.stateless_shuffle(shards, seed)
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        tf.data.TFRecordDataset,
        cycle_length=INTERLEAVED_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    draw = tf.random.stateless_uniform([], seed, maxval=tf.int64.max, dtype=tf.int64)
    tf.random.set_seed(_SEED_OF_GRAPHS)  # of the graph that is traced here: the program's own would change the order
    return records.concatenate(records.take(filling)).shuffle(
        min(slices + filling, SHUFFLED_SLICES), seed=draw, reshuffle_each_iteration=False
    )


def _decoded(record: tf.Tensor, image_size: int, channels: int, classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    example = parse_example(record)
    label = example["label"]
    known = tf.debugging.Assert((label >= 0) & (label < classes), ["label", label, f"outside the {classes} classes"])
    with tf.control_dependencies([known]):
        return decode_and_crop(example["image"], image_size, channels), tf.identity(label)


def _stateless_seed(seed: int, number: tf.Tensor) -> tf.Tensor:
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
