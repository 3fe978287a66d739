"""Slices on their way into the network."""

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
from components.train.augmentation import augment, mix
from components.train.input_pipeline import held_out_batches, readable_shards, steps_per_epoch, training_batches
from components.train.recipe import Recipe

STILL = Recipe(rotation=0, zoom=0, brightness=0, flips="none", batch_size=16)
IN_MEMORY, FROM_SHARDS = 1.0, 0.0
PRINT_AN_EPOCH = """
import sys
from pathlib import Path
from components.train.input_pipeline import training_batches
from components.train.recipe import Recipe
recipe = Recipe(batch_size=32, cache_gigabytes=float(sys.argv[3]), cutmix_alpha=1, mix_probability=0.5)
for slices, _ in training_batches(Path(sys.argv[1]), 32, 1, 3, int(sys.argv[2]), recipe, 4, 1).take(2):
    print(slices.numpy().sum(axis=(1, 2, 3)).tolist())
"""


def ids(folder: Path, count: int, recipe: Recipe, first_epoch: int = 0, epochs: int = 1) -> list[list[float]]:
    """Sums of grey values, which tell slices apart, in the order of the batches of each epoch."""
    steps = steps_per_epoch(count, recipe)
    batches = training_batches(folder, 32, 1, 3, count, recipe, 4, first_epoch).take(epochs * steps)
    sums = [slices.numpy().sum(axis=(1, 2, 3)) for slices, _ in batches]
    return [np.concatenate(sums[epoch * steps : (epoch + 1) * steps]).tolist() for epoch in range(epochs)]


def training_slices(folder: Path) -> list[np.ndarray]:
    return [decode_and_crop(encoded, 32, 1).numpy() for _, _, encoded in iterate_split(folder, "train")]


def disk(edge: int = 33) -> np.ndarray:
    rows, columns = np.mgrid[:edge, :edge] - edge // 2
    return np.where(np.hypot(rows, columns) < 12, 200, 0).astype(np.uint8)[None, ..., None]


def test_the_same_seed_gives_the_same_view_and_another_seed_another() -> None:
    rng = np.random.default_rng(0)
    slices = tf.constant(rng.integers(0, 256, (4, 32, 32, 1), dtype=np.uint8))
    first, again, other = (augment(slices, tf.constant([1, seed], tf.int64), Recipe()) for seed in (2, 2, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_augmentation_of_no_strength_shows_the_slice_itself() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 1), dtype=np.uint8)
    views = augment(tf.constant(slices), tf.constant([5, 6], tf.int64), STILL).numpy()
    assert np.array_equal(views, slices.astype(np.float32))


@pytest.mark.parametrize(("flips", "forms"), [("horizontal", 2), ("both", 4)])
def test_flips_mirror_along_the_axes_that_the_recipe_names(flips: str, forms: int) -> None:
    one = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    mirrored = [one, one[:, :, ::-1], one[:, ::-1], one[:, ::-1, ::-1]][:forms]
    recipe = STILL.model_copy(update={"flips": flips})
    views = augment(tf.repeat(one, 64, axis=0), tf.constant([5, 6], tf.int64), recipe).numpy()
    found = [[bool(np.array_equal(view, form[0])) for form in mirrored] for view in views]
    assert all(sum(fits) == 1 for fits in found)
    assert np.any(found, axis=0).all()


def test_a_shift_moves_the_specimen_by_at_most_its_share_of_the_edge() -> None:
    recipe = STILL.model_copy(update={"shift": 0.2})
    views = augment(tf.repeat(disk(65), 64, axis=0), tf.constant([5, 6], tf.int64), recipe).numpy()[..., 0]
    centres = np.stack([(axis * views).sum((1, 2)) / views.sum((1, 2)) for axis in np.mgrid[:65, :65]]) - 32
    assert np.abs(centres).max() <= 0.2 * 65 + 0.01
    assert np.abs(centres).max(axis=1).min() > 0.1 * 65


def test_a_shear_keeps_the_area() -> None:
    views = augment(tf.constant(disk(65)), tf.constant([1, 2], tf.int64), STILL.model_copy(update={"shear": 0.3}))
    area = (views.numpy() > 100).sum()
    assert area == pytest.approx((disk(65) > 100).sum(), rel=0.05)
    assert not np.array_equal(views, disk(65))


def test_contrast_turns_about_the_specimens_mean_and_brightness_about_black() -> None:
    slices = disk()
    slices[0, 10:16, 10:16] = 100
    contrast, brightness = (
        augment(tf.constant(slices), tf.constant([1, 5], tf.int64), STILL.model_copy(update={strength: 0.4})).numpy()
        for strength in ("contrast", "brightness")
    )
    specimen = slices > 0
    assert contrast[specimen].mean() == pytest.approx(slices[specimen].mean(), rel=0.03)
    assert contrast[specimen].std() != pytest.approx(slices[specimen].std(), rel=0.02)
    gain = brightness.max() / 200
    assert brightness[slices == 100] == pytest.approx(100 * gain, abs=1)
    assert abs(gain - 1) > 0.02
    assert contrast[~specimen].max() == brightness[~specimen].max() == 0


def test_a_rotation_turns_about_the_centre() -> None:
    view = augment(tf.constant(disk()), tf.constant([1, 2], tf.int64), Recipe(zoom=0, brightness=0)).numpy()
    weights = view[0, ..., 0].astype(float)
    centre = [float((axis * weights).sum() / weights.sum()) for axis in np.mgrid[:33, :33]]
    assert centre == pytest.approx([16, 16], abs=0.1)
    assert weights.sum() == pytest.approx(disk().sum(), rel=0.03)


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_each_epoch_shows_every_slice_in_a_new_order(segmented_slices: Path, memory: float) -> None:
    whole = training_slices(segmented_slices)
    recipe = STILL.model_copy(update={"cache_gigabytes": memory, "batch_size": 32})
    epochs = ids(segmented_slices, len(whole), recipe, epochs=3)
    assert len(whole) % 32 != 0
    assert all(set(epoch) == {float(piece.sum()) for piece in whole} for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_an_epoch_depends_on_the_seed_and_its_number_alone(segmented_slices: Path, memory: float) -> None:
    count = len(training_slices(segmented_slices))
    recipe = Recipe(batch_size=32, cache_gigabytes=memory, mixup_alpha=0.2, mix_probability=0.5)
    through = ids(segmented_slices, count, recipe, epochs=3)
    tf.random.set_seed(0)  # with which tf.data takes no tensor as the seed of a shuffle
    assert ids(segmented_slices, count, recipe, first_epoch=2) == through[2:]


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_fewer_slices_than_a_batch_are_one_batch_of_all_of_them(segmented_slices: Path, memory: float) -> None:
    whole = training_slices(segmented_slices)
    recipe = STILL.model_copy(update={"cache_gigabytes": memory, "batch_size": 4096})
    assert steps_per_epoch(len(whole), recipe) == 1
    (epoch,) = ids(segmented_slices, len(whole), recipe)
    assert sorted(epoch) == sorted(float(piece.sum()) for piece in whole)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_another_process_sees_the_same_epoch(segmented_slices: Path, memory: float) -> None:
    count = len(training_slices(segmented_slices))
    recipe = Recipe(batch_size=32, cache_gigabytes=memory, cutmix_alpha=1, mix_probability=0.5)
    arguments = [sys.executable, "-c", PRINT_AN_EPOCH, str(segmented_slices), str(count), str(memory)]
    printed = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    (here,) = ids(segmented_slices, count, recipe, first_epoch=1)
    assert [number for line in printed for number in json.loads(line)] == here[:64]


def batch_of_two_species(edge: int = 24) -> tuple[tf.Tensor, tf.Tensor]:
    """Slices of which every second one is white and of the second species."""
    second = tf.range(16) % 2
    white = tf.cast(second, tf.float32)[:, None, None, None] * 255
    return tf.broadcast_to(white, [16, edge, edge, 1]), tf.one_hot(second, 2)


@pytest.mark.parametrize("alphas", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}])
def test_the_mixed_pixels_have_the_shares_of_the_labels(alphas: dict[str, float]) -> None:
    recipe = Recipe(mix_probability=1, **alphas)
    slices, labels = (part.numpy() for part in mix(*batch_of_two_species(), tf.constant([1, 2], tf.int64), recipe))
    assert labels.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-6)
    assert slices.mean(axis=(1, 2, 3)) / 255 == pytest.approx(labels[:, 1], abs=1e-5)
    assert ((labels > 0.01) & (labels < 0.99)).any()


def test_mixup_blends_whole_slices_and_cutmix_pastes_a_rectangle() -> None:
    whole = batch_of_two_species()
    blended, _ = mix(*whole, tf.constant([1, 2], tf.int64), Recipe(mix_probability=1, mixup_alpha=0.4))
    pasted, _ = mix(*whole, tf.constant([1, 2], tf.int64), Recipe(mix_probability=1, cutmix_alpha=1.0))
    assert all(len(np.unique(piece)) == 1 for piece in blended.numpy())
    assert set(np.unique(pasted)) == {0.0, 255.0}


def test_mixing_touches_the_share_of_batches_that_the_recipe_says() -> None:
    recipe = Recipe(mix_probability=0.5, mixup_alpha=0.4, cutmix_alpha=1.0)
    slices, labels = batch_of_two_species()
    seeds = [tf.constant([3, number], tf.int64) for number in range(60)]
    untouched = [bool(tf.reduce_all(mix(slices, labels, seed, recipe)[1] == labels)) for seed in seeds]
    assert 15 <= sum(untouched) <= 45
    assert mix(slices, labels, seeds[0], Recipe()) == (slices, labels)


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
    assert len(batches) == len(list(batches)), "fit warns of a set whose length it does not know"
    labels = np.concatenate([one_hot.numpy().argmax(axis=1) for _, one_hot in batches])
    assert labels.tolist() == [label for _, label, _ in iterate_split(segmented_slices, "validation")]


@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_uncovered_corners_are_black_and_grey_values_stay_in_range(rotation: float) -> None:
    white = np.full((2, 32, 32, 1), 255, dtype=np.uint8)
    view = augment(tf.constant(white), tf.constant([1, 2], tf.int64), Recipe(rotation=rotation, contrast=0.2)).numpy()
    assert view.max() <= 255
    assert view[:, 16, 16].min() >= 200


def copied(folder: Path, to: Path) -> tuple[Path, Path]:
    copy = Path(shutil.copytree(folder, to / "slices"))
    return copy, shards_of(copy, "train")[0]


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
@pytest.mark.parametrize("cut", [True, False])
def test_a_damaged_shard_is_named(segmented_slices: Path, tmp_path: Path, memory: float, cut: bool) -> None:
    folder, shard = copied(segmented_slices, tmp_path)
    whole = bytearray(shard.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    shard.write_bytes(whole[: len(whole) // 3] if cut else whole)
    count, recipe = len(training_slices(segmented_slices)), Recipe(cache_gigabytes=memory)
    with pytest.raises(TrainingError, match=f"{shard.name} is damaged"), readable_shards(folder):
        list(training_batches(folder, 32, 1, 3, count, recipe, 0).take(9))


@pytest.mark.parametrize("memory", [IN_MEMORY, FROM_SHARDS])
def test_a_label_outside_the_classes_is_told(segmented_slices: Path, memory: float) -> None:
    count, recipe = len(training_slices(segmented_slices)), Recipe(cache_gigabytes=memory)
    with pytest.raises(TrainingError, match="outside the 2 classes"), readable_shards(segmented_slices):
        list(training_batches(segmented_slices, 32, 1, 2, count, recipe, 0).take(9))


def test_another_number_of_slices_than_promised_is_told(segmented_slices: Path) -> None:
    count = len(training_slices(segmented_slices))
    for promised in (count - 1, count + 1):
        with pytest.raises(TrainingError, match=f"holds {count} training slices"):
            training_batches(segmented_slices, 32, 1, 3, promised, Recipe(), 0)


def test_an_error_of_the_network_keeps_its_own_words(segmented_slices: Path) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError), readable_shards(segmented_slices):
        tf.matmul(tf.ones([2, 3]), tf.ones([2, 3]))


def test_held_out_slices_from_memory_are_the_same_the_second_time(segmented_slices: Path) -> None:
    kept = held_out_batches(segmented_slices, "test", 32, 1, 3, 7, cache_gigabytes=IN_MEMORY)
    read = held_out_batches(segmented_slices, "test", 32, 1, 3, 7)
    for _ in range(2):
        for (images, labels), (theirs, of_them) in zip(kept, read, strict=True):
            assert np.array_equal(images, theirs)
            assert np.array_equal(labels, of_them)
