"""Random views of a batch of slices: one combined warp, then grey values, then MixUp or CutMix.

Every draw is a pure function of a seed, which Keras's augmentation layers are not: a resumed run needs the views of the
uninterrupted one. One affine warp for flips, rotation, zoom, shear and shift costs a third of Keras's layers, which
resample one by one.
"""

import math
from functools import partial

import tensorflow as tf

from components.train.recipe import Recipe

_EVERY = 4


def augment(slices: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Warps each slice and changes its brightness and contrast at random; background and uncovered corners are black.

    Args:
        slices: uint8 [N, S, S, C].
        seed: int64 [2]; the same seed gives the same views.
        recipe: the strengths.

    Returns:
        float32 [N, S, S, C] in 0..255.
    """
    warp_seed, brightness_seed, contrast_seed = tf.unstack(tf.random.split(seed, 3))
    count, edge = tf.shape(slices)[0], tf.cast(tf.shape(slices)[1], tf.float32)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=slices,
        transforms=_random_warps(count, edge, warp_seed, recipe),
        output_shape=tf.shape(slices)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    views = tf.cast(warped, tf.float32)
    if recipe.contrast:
        views = _change_contrast(views, _around_one(count, contrast_seed, recipe.contrast)[:, None, None, None])
    if recipe.brightness:
        views *= _around_one(count, brightness_seed, recipe.brightness)[:, None, None, None]
    return tf.ensure_shape(tf.clip_by_value(views, 0.0, 255.0), slices.shape)


def mix(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each slice with another of its batch by MixUp or CutMix, with the recipe's probability; labels likewise.

    Where the recipe asks for both, each batch takes one of them with equal chances.

    Args:
        slices: float32 [N, S, S, C].
        labels: float32 [N, K], rows summing to 1.
        seed: int64 [2].
        recipe: probability and parameters of the beta distributions.

    Returns:
        Slices and labels of the same shapes.
    """
    methods = [
        (blend, alpha) for blend, alpha in ((_mix_up, recipe.mixup_alpha), (_cut_mix, recipe.cutmix_alpha)) if alpha
    ]
    if not methods or not recipe.mix_probability:
        return slices, labels
    whether, which, how = tf.unstack(tf.random.split(seed, 3))
    arms = [partial(blend, slices, labels, how, alpha) for blend, alpha in methods]
    arm = tf.random.stateless_uniform([], which, maxval=len(arms), dtype=tf.int32)
    mixed = tf.random.stateless_uniform([], whether) < recipe.mix_probability
    return tuple(tf.cond(mixed, lambda: tf.switch_case(arm, arms), lambda: (slices, labels)))


def _mix_up(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each slice with its neighbour in the batch (Zhang et al. 2018, arXiv 1710.09412)."""
    share = _beta(tf.shape(slices)[0], seed, alpha)
    wide, narrow = share[:, None, None, None], share[:, None]
    return (
        slices * wide + tf.roll(slices, 1, axis=0) * (1 - wide),
        labels * narrow + tf.roll(labels, 1, axis=0) * (1 - narrow),
    )


def _cut_mix(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts a rectangle of the neighbour into each slice; labels follow its area (Yun et al. 2019, 1905.04899)."""
    share_seed, place_seed = tf.unstack(tf.random.split(seed, 2))
    count, edge = tf.shape(slices)[0], tf.shape(slices)[1]
    side = tf.sqrt(1 - _beta(count, share_seed, alpha)) * tf.cast(edge, tf.float32)
    middle = tf.random.stateless_uniform([2, count], place_seed, maxval=tf.cast(edge, tf.float32))
    places = tf.range(edge, dtype=tf.float32) + 0.5
    rows, columns = (tf.abs(places[None] - centre[:, None]) < side[:, None] / 2 for centre in tf.unstack(middle))
    inside = rows[:, :, None] & columns[:, None, :]
    share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=[1, 2])[:, None]
    return (
        tf.where(inside[..., None], tf.roll(slices, 1, axis=0), slices),
        labels * share + tf.roll(labels, 1, axis=0) * (1 - share),
    )


def _beta(count: tf.Tensor, seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """Draws float32 [count] of Beta(alpha, alpha) as a ratio of gamma draws."""
    one, other = tf.unstack(tf.random.stateless_gamma([2, count], seed, alpha))
    return tf.math.divide_no_nan(one, one + other)


def _around_one(count: tf.Tensor, seed: tf.Tensor, strength: float) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed, 1 - strength, 1 + strength)


def _change_contrast(slices: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Stretches grey values about the mean of the specimen, estimated on every fourth row and column."""
    sample = slices[:, ::_EVERY, ::_EVERY]
    covered = tf.math.count_nonzero(sample, axis=[1, 2, 3], keepdims=True, dtype=tf.float32)
    mean = tf.math.divide_no_nan(tf.reduce_sum(sample, axis=[1, 2, 3], keepdims=True), covered)
    return tf.where(slices > 0, slices * factor + mean * (1 - factor), 0.0)


def _random_warps(count: tf.Tensor, edge: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Draws float32 [N, 8] output-to-input transforms: flips, shear, rotation, zoom about the centre, and a shift."""
    turn = 2 * math.pi * recipe.rotation
    strengths = tf.constant([turn, recipe.zoom, recipe.shear, recipe.shift, recipe.shift, 1.0, 1.0])
    draws = tf.random.stateless_uniform([7, count], seed, -1.0, 1.0) * strengths[:, None]
    angle, zoom, shear, across, down, mirror_x, mirror_y = tf.unstack(draws)
    mirror_x = tf.sign(mirror_x) if recipe.flips != "none" else tf.ones_like(mirror_x)
    mirror_y = tf.sign(mirror_y) if recipe.flips == "both" else tf.ones_like(mirror_y)
    cosine, sine = tf.cos(angle) * (1 + zoom), tf.sin(angle) * (1 + zoom)
    xx, xy = cosine * mirror_x, (cosine * shear - sine) * mirror_y
    yx, yy = sine * mirror_x, (sine * shear + cosine) * mirror_y
    centre, zeros = (edge - 1) / 2, tf.zeros_like(angle)
    shift_x = centre - (xx + xy) * centre + across * edge
    shift_y = centre - (yx + yy) * centre + down * edge
    return tf.stack([xx, xy, shift_x, yx, yy, shift_y, zeros, zeros], axis=1)
