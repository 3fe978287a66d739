"""Order, content and errors of the batches of training and validation."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.shared.errors import TrainingError
from components.shared.images.crops import decode_and_crop
from components.shared.slices import iterate_split, read_info, shards_of
from components.train.backbones.registry import InputSpec
from components.train.input_pipeline import (
    held_out_batches,
    reading_slices,
    steps_per_epoch,
    training_batches,
    validation_batch_size,
)
from components.train.recipe import Recipe

STILL = Recipe(rotation=0, zoom=0, brightness=0, flips="none", batch_size=16)
IN_MEMORY, FROM_SHARDS = 1.0, 0.0
SPEC = InputSpec(32, 1, 3)
PRINT_AN_EPOCH = """
import sys
from pathlib import Path
from components.train.backbones.registry import InputSpec
from components.train.input_pipeline import training_batches
from components.train.recipe import Recipe
recipe = Recipe(batch_size=32, cache_gigabytes=float(sys.argv[3]), cutmix_alpha=1, mix_probability=0.5)
for slices, _ in training_batches(Path(sys.argv[1]), InputSpec(32, 1, 3), int(sys.argv[2]), recipe, 4, 1).take(2):
    print(slices.numpy().sum(axis=(1, 2, 3)).tolist())
"""


def slice_sums(folder: Path, count: int, recipe: Recipe, first_epoch: int = 0, epochs: int = 1) -> list[list[float]]:
    """Return sums of grey values, which identify slices, in the order of the batches of each epoch."""
    steps = steps_per_epoch(count, recipe)
    batches = training_batches(folder, SPEC, count, recipe, 4, first_epoch).take(epochs * steps)
    sums = [slices.numpy().sum(axis=(1, 2, 3)) for slices, _ in batches]
    return [np.concatenate(sums[epoch * steps : (epoch + 1) * steps]).tolist() for epoch in range(epochs)]


def training_slices(folder: Path) -> list[np.ndarray]:
    return [decode_and_crop(encoded, 32, 1).numpy() for _, _, encoded in iterate_split(folder, "train")]


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_each_epoch_has_every_slice_in_a_new_order(segmented_slices: Path, memory: float) -> None:
    slices = training_slices(segmented_slices)
    recipe = STILL.model_copy(update={"cache_gigabytes": memory, "batch_size": 32})
    epochs = slice_sums(segmented_slices, len(slices), recipe, epochs=3)
    assert len(slices) % 32 != 0
    assert all(set(epoch) == {float(image.sum()) for image in slices} for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_an_epoch_depends_only_on_the_seed_and_its_number(segmented_slices: Path, memory: float) -> None:
    count = len(training_slices(segmented_slices))
    recipe = Recipe(batch_size=32, cache_gigabytes=memory, mixup_alpha=0.2, mix_probability=0.5)
    uninterrupted_epochs = slice_sums(segmented_slices, count, recipe, epochs=3)
    tf.random.set_seed(0)  # tf.data then rejects a tensor as the seed of a shuffle
    assert slice_sums(segmented_slices, count, recipe, first_epoch=2) == uninterrupted_epochs[2:]


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_fewer_slices_than_a_batch_make_one_batch(segmented_slices: Path, memory: float) -> None:
    slices = training_slices(segmented_slices)
    recipe = STILL.model_copy(update={"cache_gigabytes": memory, "batch_size": 4096})
    assert steps_per_epoch(len(slices), recipe) == 1
    (epoch,) = slice_sums(segmented_slices, len(slices), recipe)
    assert sorted(epoch) == sorted(float(image.sum()) for image in slices)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_another_process_gets_the_same_epoch(segmented_slices: Path, memory: float) -> None:
    count = len(training_slices(segmented_slices))
    recipe = Recipe(batch_size=32, cache_gigabytes=memory, cutmix_alpha=1, mix_probability=0.5)
    arguments = [sys.executable, "-c", PRINT_AN_EPOCH, str(segmented_slices), str(count), str(memory)]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    (here,) = slice_sums(segmented_slices, count, recipe, first_epoch=1)
    assert [number for line in printed for number in json.loads(line)] == here[:64]


def test_training_evaluation_and_serving_use_identical_pixels(segmented_slices: Path) -> None:
    info = read_info(segmented_slices)
    batches = held_out_batches(segmented_slices, "test", InputSpec(info.image_size, info.channels, 3), 7)
    batch_pixels = np.concatenate([slices.numpy() for slices, _ in batches])
    served_pixels = [
        decode_and_crop(encoded, info.image_size, 1).numpy()
        for _, _, encoded in iterate_split(segmented_slices, "test")
    ]
    assert batch_pixels.dtype == np.float32
    assert np.array_equal(batch_pixels, np.stack(served_pixels).astype(np.float32))


def test_held_out_slices_keep_the_order_of_their_records(segmented_slices: Path) -> None:
    batches = held_out_batches(segmented_slices, "validation", SPEC, 7)
    assert len(batches) == len(list(batches)), "fit warns of a data set of unknown length"
    labels = np.concatenate([one_hot.numpy().argmax(axis=1) for _, one_hot in batches])
    assert labels.tolist() == [label for _, label, _ in iterate_split(segmented_slices, "validation")]


def copy_slices(folder: Path, to: Path) -> tuple[Path, Path]:
    copy = Path(shutil.copytree(folder, to / "slices"))
    return copy, shards_of(copy, "train")[0]


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
@pytest.mark.parametrize("truncate", [True, False])
def test_a_damaged_shard_is_named(segmented_slices: Path, tmp_path: Path, memory: float, truncate: bool) -> None:
    folder, shard = copy_slices(segmented_slices, tmp_path)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content[: len(content) // 3] if truncate else content)
    count, recipe = len(training_slices(segmented_slices)), Recipe(cache_gigabytes=memory)
    with pytest.raises(TrainingError, match=f"{shard.name} is damaged"), reading_slices(folder):
        list(training_batches(folder, SPEC, count, recipe, 0).take(9))


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_a_label_outside_the_classes_is_reported(segmented_slices: Path, memory: float) -> None:
    count, recipe = len(training_slices(segmented_slices)), Recipe(cache_gigabytes=memory)
    with pytest.raises(TrainingError, match="outside the 2 classes"), reading_slices(segmented_slices):
        list(training_batches(segmented_slices, InputSpec(32, 1, 2), count, recipe, 0).take(9))


def test_another_number_of_slices_than_described_is_reported(segmented_slices: Path) -> None:
    count = len(training_slices(segmented_slices))
    for described_count in (count - 1, count + 1):
        with pytest.raises(TrainingError, match=f"contains {count} training slices"):
            training_batches(segmented_slices, SPEC, described_count, Recipe(), 0)


def test_an_error_of_the_network_is_not_converted(segmented_slices: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError), reading_slices(segmented_slices):
        tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]))


def test_cached_held_out_slices_are_the_same_the_second_time(segmented_slices: Path) -> None:
    cached_batches = held_out_batches(segmented_slices, "test", SPEC, 7, cache_gigabytes=IN_MEMORY)
    batches = held_out_batches(segmented_slices, "test", SPEC, 7)
    for _ in range(2):
        for (images, labels), (expected_images, expected_labels) in zip(cached_batches, batches, strict=True):
            assert np.array_equal(images, expected_images)
            assert np.array_equal(labels, expected_labels)


@pytest.mark.parametrize(("slices", "devices"), [(17, 1), (17, 2), (129, 2), (131, 4), (500, 3), (2, 2)])
def test_no_device_gets_an_empty_part_of_a_validation_batch(slices: int, devices: int) -> None:
    size = validation_batch_size(slices, Recipe(batch_size=32), devices)
    assert 0 < size <= 128
    assert size % devices == 0
    assert slices % size == 0 or slices % size >= devices
