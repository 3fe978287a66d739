"""The input pipeline: shards, decoding, cropping, shuffling, batches and augmentation.

Order and views of a training epoch depend only on the seed and the epoch's number, so that a resumed run gets the same
input as an uninterrupted one.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.shared.errors import TrainingError
from components.shared.images.crops import decode_and_crop
from components.shared.slices import parse_example, read_info, shards_of
from components.train.augmentation import augment, mix
from components.train.backbones.registry import InputSpec
from components.train.recipe import Recipe

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

SHUFFLE_BUFFER = 16384
INTERLEAVED_SHARDS = 16
_READ_BATCH = 64
_GRAPH_SEED = 1
_REBUILD = "Run the steps that make the slices again."


@dataclass(frozen=True)
class EpochSize:
    """Numbers of slices and steps of a training epoch.

    Attributes:
        slices: Number of training slices.
        batch: Number of slices in each batch.
    """

    slices: int
    batch: int

    @property
    def steps(self) -> int:
        """Number of steps in which every slice occurs."""
        return math.ceil(self.slices / self.batch)

    @property
    def padding(self) -> int:
        """Number of slices that occur twice, to fill the last batch."""
        return self.steps * self.batch - self.slices


def steps_per_epoch(slices: int, recipe: Recipe) -> int:
    """Return the number of steps in which every slice occurs; the last batch is filled with slices of the epoch."""
    return epoch_size_of(slices, recipe).steps


def validation_batch_size(slices: int, recipe: Recipe, devices: int) -> int:
    """Return the size of validation batches, at most four training batches.

    Keras requires that the first batch can be divided evenly between the devices, and some layers that no device gets
    an empty part of the last one.

    Args:
        slices: Number of validation slices.
        recipe: Size of training batches.
        devices: Number of devices, at most the number of slices.
    """
    largest = min(4 * recipe.batch_size, slices)
    sizes = range(largest - largest % devices, 0, -devices)
    return next((size for size in sizes if slices % size == 0 or slices % size >= devices), sizes[0])


def training_batches(
    folder: Path, spec: InputSpec, slices: int, recipe: Recipe, seed: int, first_epoch: int = 0
) -> tf.data.Dataset:
    """Return an endless data set of training batches, each epoch in a new order and with new views.

    Pass `steps_per_epoch` to `fit`. All batches have one shape; if the last batch of an epoch has to be filled, some
    slices occur twice, different ones in each epoch.

    Args:
        folder: Data set of slices.
        spec: Shape of the input, and number of classes.
        slices: Number of training slices.
        recipe: Batch size, memory for the cache, and strengths of augmentation.
        seed: Seed of shuffling and augmentation.
        first_epoch: Number of the first epoch, counted from 0 over all phases.

    Returns:
        Batches of float32 [N, image_size, image_size, channels] in 0..255 and float32 [N, classes] with rows of sum 1.

    Raises:
        TrainingError: A shard is damaged or contains a label outside the classes (see `reading_slices`).
    """
    epoch_size = epoch_size_of(slices, recipe)
    if slices * spec.slice_bytes <= recipe.cache_gigabytes * 2**30:
        images, labels = _read_into_memory(folder, spec, slices)
        batches = _batches_from_memory(images, labels, epoch_size, seed, first_epoch)
    else:
        batches = _batches_from_shards(folder, spec, epoch_size, seed, first_epoch)
    steps = tf.data.Dataset.counter(first_epoch * epoch_size.steps)
    views = tf.data.Dataset.zip((steps, batches)).map(
        lambda step, batch: _augment_and_mix(batch[0], batch[1], stateless_seed(seed, step), spec.classes, recipe),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return views.prefetch(2)


def held_out_batches(
    folder: Path, split: str, spec: InputSpec, batch_size: int, cache_gigabytes: float = 0
) -> tf.data.Dataset:
    """Read a split once, in its order, without augmentation, as it is served.

    Args:
        folder: Data set of slices.
        split: One of `components.shared.slices.SPLITS`.
        spec: Shape of the input, and number of classes.
        batch_size: Slices per batch; the last batch may be smaller.
        cache_gigabytes: Memory in which decoded slices are kept for the next iteration, if all of them fit, in GiB.

    Returns:
        Batches of uint8-valued float32 [N, image_size, image_size, channels] and one-hot float32 [N, classes].
    """
    count = read_info(folder).slices(split)
    # without it, `fit` warns that the length is unknown
    batches = _decoded_slices(folder, split, spec).apply(tf.data.experimental.assert_cardinality(count))
    batches = batches.batch(batch_size)
    if count * spec.slice_bytes <= cache_gigabytes * 2**30:
        batches = batches.cache()
    batches = batches.map(lambda images, labels: (tf.cast(images, tf.float32), tf.one_hot(labels, spec.classes)))
    return batches.prefetch(2)


@contextmanager
def reading_slices(folder: Path) -> Iterator[None]:
    """Convert TensorFlow's errors on reading slices in the block to TrainingError, and name the damaged shard.

    Args:
        folder: Data set that is read in the block.

    Raises:
        TrainingError: A record has a wrong checksum, an invalid image or a label outside the classes, or the number of
            held-out slices differs from the description.
    """
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError) as error:
        if "IteratorGetNext" not in str(error):  # the network's own error
            raise
        raise TrainingError(
            f"{folder} cannot be read ({_find_damage(folder, error)})", "complete shards", _REBUILD
        ) from error


def epoch_size_of(slices: int, recipe: Recipe) -> EpochSize:
    """Return the numbers of slices and steps of a training epoch."""
    return EpochSize(slices, min(recipe.batch_size, slices))


def _augment_and_mix(
    slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, classes: int, recipe: Recipe
) -> tuple[tf.Tensor, tf.Tensor]:
    view_seed, mixing_seed = tf.unstack(tf.random.split(seed, 2))
    return mix(augment(slices, view_seed, recipe), tf.one_hot(labels, classes), mixing_seed, recipe)


def _find_damage(folder: Path, error: Exception) -> str:
    """Return the name of the first shard with a wrong checksum, or otherwise TensorFlow's message."""
    for shard in sorted(folder.glob("slices-*.tfrecord")):
        try:
            for _ in tf.data.TFRecordDataset(str(shard)):
                pass
        except tf.errors.DataLossError:
            return f"{shard.name} is damaged"
    message = str(getattr(error, "message", error))
    reason = (message.partition("[[")[0].strip().splitlines() or [""])[-1]
    return reason.rpartition("assertion failed: ")[2].strip()[:200]


def _read_into_memory(folder: Path, spec: InputSpec, slices: int) -> tuple[Images, Labels]:
    """Read the training split in its order.

    Returns:
        Images, uint8 [slices, S, S, C], and labels, int64 [slices].

    Raises:
        TrainingError: The shards contain another number of slices, or one is damaged.
    """
    images = np.empty((slices, spec.image_size, spec.image_size, spec.channels), np.uint8)
    labels = np.empty(slices, np.int64)
    count = 0
    with reading_slices(folder):
        for batch, batch_labels in _decoded_slices(folder, "train", spec).batch(_READ_BATCH).prefetch(2):
            space, end = slices - count, count + len(batch)
            images[count:end], labels[count:end] = batch[:space], batch_labels[:space]
            count = end
    if count != slices:
        raise TrainingError(f"{folder} contains {count} training slices", str(slices), _REBUILD)
    return images, labels


def _decoded_slices(folder: Path, split: str, spec: InputSpec) -> tf.data.Dataset:
    """Read a split in its order: uint8 [S, S, C] and int64 []."""
    return tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)]).map(
        lambda record: _decode(record, spec), num_parallel_calls=tf.data.AUTOTUNE
    )


def _batches_from_memory(
    images: Images, labels: Labels, epoch_size: EpochSize, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """Gather the batches of each epoch's permutation, which is computed and not stored."""
    return tf.data.Dataset.counter(first_epoch * epoch_size.steps).map(
        lambda step: _gather_rows(images, labels, permuted_rows(step, epoch_size, seed)),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def _gather_rows(images: Images, labels: Labels, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gather uint8 [N, S, S, C] and int64 [N] in NumPy: a tensor of the whole table would be a second copy of it."""
    batch, batch_labels = tf.numpy_function(
        lambda indices: (images[indices], labels[indices]), [rows], (tf.uint8, tf.int64), stateful=False
    )
    return tf.ensure_shape(batch, [len(rows), *images.shape[1:]]), tf.ensure_shape(batch_labels, [len(rows)])


def permuted_rows(step: tf.Tensor, epoch_size: EpochSize, seed: int) -> tf.Tensor:
    """Return the rows of a step's batch, int64 [batch]; those that fill the last batch are drawn separately."""
    slices, batch, steps = epoch_size.slices, epoch_size.batch, epoch_size.steps
    epoch, position = step // steps, (step % steps) * batch + tf.range(batch, dtype=tf.int64)
    last = tf.constant(slices - 1, tf.int64)
    rows, filling_rows = (
        tf.random.experimental.index_shuffle(position % slices, stateless_seed(seed, 2 * epoch + draw), last)
        for draw in (0, 1)
    )
    return tf.where(position < slices, rows, filling_rows)


def _batches_from_shards(
    folder: Path, spec: InputSpec, epoch_size: EpochSize, seed: int, first_epoch: int
) -> tf.data.Dataset:
    """Shuffle encoded slices of several shards together, which takes a tenth of the memory of decoded ones."""
    shards = tf.constant([str(shard) for shard in shards_of(folder, "train")])
    records = tf.data.Dataset.counter(first_epoch).flat_map(
        lambda epoch: _records_of_epoch(shards, epoch_size, stateless_seed(seed, epoch))
    )
    slices = records.map(lambda record: _decode(record, spec), num_parallel_calls=tf.data.AUTOTUNE)
    return slices.batch(epoch_size.batch, drop_remainder=True)


def _records_of_epoch(shards: tf.Tensor, epoch_size: EpochSize, seed: tf.Tensor) -> tf.data.Dataset:
    """Read shards in a random order and shuffle their records, including the slices that fill the last batch."""
    order = tf.random.experimental.stateless_shuffle(shards, seed)
    records = tf.data.Dataset.from_tensor_slices(order).interleave(
        tf.data.TFRecordDataset,
        cycle_length=INTERLEAVED_SHARDS,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    draw = tf.random.stateless_uniform([], seed, maxval=tf.int64.max, dtype=tf.int64)
    tf.random.set_seed(
        _GRAPH_SEED
    )  # of the graph that is traced here; otherwise the program's seed would change the order
    return records.concatenate(records.take(epoch_size.padding)).shuffle(
        min(epoch_size.slices + epoch_size.padding, SHUFFLE_BUFFER), seed=draw, reshuffle_each_iteration=False
    )


def _decode(record: tf.Tensor, spec: InputSpec) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode a record and check its label: uint8 [S, S, C] and int64 []."""
    example = parse_example(record)
    label, message = example["label"], f"outside the {spec.classes} classes"
    label_is_valid = tf.debugging.Assert((label >= 0) & (label < spec.classes), ["label", label, message])
    with tf.control_dependencies([label_is_valid]):
        return decode_and_crop(example["image"], spec.image_size, spec.channels), tf.identity(label)


def stateless_seed(seed: int, number: tf.Tensor) -> tf.Tensor:
    """Return the seed of a step or epoch, int64 [2]."""
    return tf.stack([tf.constant(seed, tf.int64), tf.cast(number, tf.int64)])
