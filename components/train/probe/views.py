"""The views of slices of which features are computed; each is a function of the slice, its id, the recipe and a seed.

View 0 is the slice unchanged. Views 1, 2, ... are augmented with random numbers from the slice's id, so that data sets
that share a slice share its views.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components.shared.errors import TrainingError
from components.shared.images.crops import decode_and_crop
from components.shared.slices import iterate_split, parse_example, read_info, shards_of
from components.train.augmentation import augment
from components.train.backbones.registry import InputSpec
from components.train.recipe import Recipe

_DIGEST_BYTES, _HASHES = 8, 2**63 - 1


@dataclass(frozen=True)
class SplitRecords:
    """The records of a split, in their order.

    Attributes:
        ids: Id of each slice.
        digests: Digest of each encoded slice.
        labels: Label of each slice, int64 [N].
    """

    ids: Sequence[str]
    digests: Sequence[str]
    labels: NDArray[np.int64]


def read_records(folder: Path, split: str, classes: int) -> SplitRecords:
    """Read ids, digests and labels of the slices of a split.

    Raises:
        ContractError: A shard is damaged.
        TrainingError: The number of slices differs from the description, or a label is outside the classes.
    """
    ids, digests, labels = [], [], []
    for id_, label, png in iterate_split(folder, split):
        if not 0 <= label < classes:
            raise TrainingError(
                f"slice {id_} has the label {label}", f"0 to {classes - 1}", "Run the steps that make the slices again."
            )
        ids.append(id_)
        labels.append(label)
        digests.append(hashlib.blake2b(png, digest_size=_DIGEST_BYTES).hexdigest())
    count = read_info(folder).slices(split)
    if count != len(ids):
        raise TrainingError(
            f"{folder} contains {len(ids)} {split} slices", str(count), "Run the steps that make the slices again."
        )
    return SplitRecords(ids, digests, np.array(labels, np.int64))


def view_batches(
    folder: Path,
    split: str,
    rows: NDArray[np.int64],
    first: int,
    count: int,
    spec: InputSpec,
    recipe: Recipe,
    seed: int,
) -> tf.data.Dataset:
    """Return the same views of some slices of a split, slice by slice.

    Args:
        folder: Data set of slices.
        split: Split of the slices.
        rows: Positions of the slices in the split, ascending.
        first: Number of the first view.
        count: Number of views.
        spec: Shape of the input.
        recipe: Number of views and strengths of augmentation.
        seed: Seed of the augmentation.

    Returns:
        float32 [count, image_size, image_size, channels] in 0..255 for each slice.
    """
    is_requested = np.zeros(int(rows.max(initial=-1)) + 1, np.bool_)
    is_requested[rows] = True
    records = tf.data.TFRecordDataset([str(shard) for shard in shards_of(folder, split)])
    requests = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(is_requested), records))
    return requests.filter(lambda is_needed, _: is_needed).map(
        lambda _, record: _views(record, first, count, spec, recipe, seed), num_parallel_calls=tf.data.AUTOTUNE
    )


def _views(record: tf.Tensor, first: int, count: int, spec: InputSpec, recipe: Recipe, seed: int) -> tf.Tensor:
    example = parse_example(record)
    image = decode_and_crop(example["image"], spec.image_size, spec.channels)[None]
    original = tf.cast(image, tf.float32)
    if first + count == 1:
        return original
    number = tf.strings.to_hash_bucket_fast(example["id"], _HASHES)
    view_seed = tf.stack([tf.constant(seed, tf.int64), number])
    others = augment(tf.repeat(image, recipe.probe_views - 1, axis=0), view_seed, recipe)
    return tf.concat([original, others], axis=0)[first : first + count]
