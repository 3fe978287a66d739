"""Augmentation: warps, grey values, MixUp and CutMix."""

import numpy as np
import pytest
import tensorflow as tf

from components.shared.errors import BadConfigError
from components.train.augmentation import augment, mix
from components.train.recipe import Recipe
from pipelines.presets import load_preset

STILL = Recipe(rotation=0, zoom=0, brightness=0, flips="none", batch_size=16)


def disk(edge: int = 33) -> np.ndarray:
    rows, columns = np.mgrid[:edge, :edge] - edge // 2
    return np.where(np.hypot(rows, columns) < 12, 200, 0).astype(np.uint8)[None, ..., None]


def test_views_depend_on_the_seed() -> None:
    rng = np.random.default_rng(0)
    slices = tf.constant(rng.integers(0, 256, (4, 32, 32, 1), dtype=np.uint8))
    first, again, other = (augment(slices, tf.constant([1, seed], tf.int64), Recipe()) for seed in (2, 2, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_augmentation_of_strength_zero_returns_the_slice() -> None:
    slices = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 1), dtype=np.uint8)
    views = augment(tf.constant(slices), tf.constant([5, 6], tf.int64), STILL).numpy()
    assert np.array_equal(views, slices.astype(np.float32))


@pytest.mark.parametrize(("flips", "forms"), [("horizontal", 2), ("both", 4)])
def test_flips_mirror_along_the_axes_of_the_recipe(flips: str, forms: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 1), dtype=np.uint8)
    mirror_images = [image, image[:, :, ::-1], image[:, ::-1], image[:, ::-1, ::-1]][:forms]
    recipe = STILL.model_copy(update={"flips": flips})
    views = augment(tf.repeat(image, 64, axis=0), tf.constant([5, 6], tf.int64), recipe).numpy()
    matches = [[bool(np.array_equal(view, form[0])) for form in mirror_images] for view in views]
    assert all(sum(row) == 1 for row in matches)
    assert np.any(matches, axis=0).all()


def test_a_shift_moves_the_specimen_by_at_most_its_share() -> None:
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


def test_contrast_keeps_the_mean_and_brightness_keeps_black() -> None:
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


def recipe_with_grey_views(share: float) -> Recipe | None:
    try:
        return Recipe.parse({**STILL.model_dump(), "greyscale": share})
    except BadConfigError:
        return None


def test_the_recipes_share_of_views_is_grey_and_others_unchanged() -> None:
    recipe = recipe_with_grey_views(0.3)
    assert recipe is not None
    slices = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 3), dtype=np.uint8)
    views, again = (augment(tf.constant(slices), tf.constant([5, 6], tf.int64), recipe).numpy() for _ in range(2))
    assert np.array_equal(views, again)
    is_grey = (views == views[..., :1]).all(axis=(1, 2, 3))
    assert is_grey.mean() == pytest.approx(0.3, abs=0.07)
    assert np.array_equal(views[~is_grey], slices[~is_grey])
    luma = slices[is_grey] @ np.array([0.299, 0.587, 0.114])
    assert np.abs(views[is_grey][..., 0] - luma).max() <= 1


@pytest.mark.parametrize("preset", ["fish", "fish-sample"])
def test_presets_of_photographs_train_on_grey_views(preset: str) -> None:
    assert 0.2 <= load_preset(preset).parameters["recipe"].get("greyscale", 0) <= 0.5


def test_a_rotation_keeps_the_centre() -> None:
    view = augment(tf.constant(disk()), tf.constant([1, 2], tf.int64), Recipe(zoom=0, brightness=0)).numpy()
    weights = view[0, ..., 0].astype(float)
    centre = [float((axis * weights).sum() / weights.sum()) for axis in np.mgrid[:33, :33]]
    assert centre == pytest.approx([16, 16], abs=0.1)
    assert weights.sum() == pytest.approx(disk().sum(), rel=0.03)


@pytest.mark.parametrize("rotation", [0.0, 0.5])
def test_uncovered_corners_are_black_and_grey_values_stay_in_range(rotation: float) -> None:
    white = np.full((2, 32, 32, 1), 255, dtype=np.uint8)
    view = augment(tf.constant(white), tf.constant([1, 2], tf.int64), Recipe(rotation=rotation, contrast=0.2)).numpy()
    assert view.max() <= 255
    assert view[:, 16, 16].min() >= 200


def test_corners_of_photographs_have_the_colour_of_their_border() -> None:
    photographs = np.full((4, 32, 32, 3), (20, 180, 60), dtype=np.uint8)
    photographs[:, 12:20, 12:20] = 250
    views = augment(tf.constant(photographs), tf.constant([1, 2], tf.int64), Recipe(brightness=0, zoom=0)).numpy()
    np.testing.assert_array_equal(views[:, 0], np.full((4, 32, 3), (20, 180, 60)))


def batch_of_two_species(edge: int = 24) -> tuple[tf.Tensor, tf.Tensor]:
    """Return slices of which every second one is white and of the second species."""
    second = tf.range(16) % 2
    white = tf.cast(second, tf.float32)[:, None, None, None] * 255
    return tf.broadcast_to(white, [16, edge, edge, 1]), tf.one_hot(second, 2)


@pytest.mark.parametrize("alphas", [{"mixup_alpha": 0.4}, {"cutmix_alpha": 1.0}])
def test_mixed_labels_have_the_shares_of_the_pixels(alphas: dict[str, float]) -> None:
    recipe = Recipe(mix_probability=1, **alphas)
    slices, labels = (part.numpy() for part in mix(*batch_of_two_species(), tf.constant([1, 2], tf.int64), recipe))
    assert labels.sum(axis=1) == pytest.approx(np.ones(16), abs=1e-6)
    assert slices.mean(axis=(1, 2, 3)) / 255 == pytest.approx(labels[:, 1], abs=1e-5)
    assert ((labels > 0.01) & (labels < 0.99)).any()


def test_mixup_blends_whole_slices_and_cutmix_pastes_a_rectangle() -> None:
    batch = batch_of_two_species()
    blended_slices, _ = mix(*batch, tf.constant([1, 2], tf.int64), Recipe(mix_probability=1, mixup_alpha=0.4))
    pasted_slices, _ = mix(*batch, tf.constant([1, 2], tf.int64), Recipe(mix_probability=1, cutmix_alpha=1.0))
    assert all(len(np.unique(image)) == 1 for image in blended_slices.numpy())
    assert set(np.unique(pasted_slices)) == {0.0, 255.0}


def test_the_share_of_mixed_batches_is_that_of_the_recipe() -> None:
    recipe = Recipe(mix_probability=0.5, mixup_alpha=0.4, cutmix_alpha=1.0)
    slices, labels = batch_of_two_species()
    seeds = [tf.constant([3, number], tf.int64) for number in range(60)]
    is_unmixed = [bool(tf.reduce_all(mix(slices, labels, seed, recipe)[1] == labels)) for seed in seeds]
    assert 15 <= sum(is_unmixed) <= 45
    assert mix(slices, labels, seeds[0], Recipe()) == (slices, labels)
