"""Random views of a batch of slices: one combined warp, then contrast.

One projective transform for flips, rotation and zoom costs a third of Keras's four layers, which resample one by one.
"""

import math

import tensorflow as tf

from components.train.recipe import Recipe


def augment(slices: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Flips, rotates, zooms and changes the contrast of each slice at random; uncovered corners are black.

    Args:
        slices: uint8 [N, S, S, C].
        seed: int64 [2]; the same seed gives the same views.
        recipe: the strengths.

    Returns:
        uint8 [N, S, S, C].
    """
    count, edge = tf.shape(slices)[0], tf.cast(tf.shape(slices)[1], tf.float32)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(slices, tf.float32),
        transforms=_random_warps(count, edge, seed, recipe),
        output_shape=tf.shape(slices)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    draw = tf.random.stateless_uniform([count, 1, 1, 1], seed + 2, 1 - recipe.contrast, 1 + recipe.contrast)
    return tf.cast(tf.clip_by_value(tf.round(warped * draw), 0.0, 255.0), tf.uint8)


def _random_warps(count: tf.Tensor, edge: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Draws float32 [N, 8] output-to-input transforms about the centre of the slice."""
    turn = 2 * math.pi * recipe.rotation
    angle = tf.random.stateless_uniform([count], seed, -turn, turn)
    scale = tf.random.stateless_uniform([count], seed + 1, 1 - recipe.zoom, 1 + recipe.zoom)
    mirror = tf.sign(tf.random.stateless_uniform([count], seed + 3, -1.0, 1.0))
    cosine, sine = tf.cos(angle) * scale, tf.sin(angle) * scale
    centre = (edge - 1) / 2
    xx, xy, yx, yy = cosine * mirror, -sine, sine * mirror, cosine
    zeros = tf.zeros_like(angle)
    shift_x, shift_y = centre - (xx + xy) * centre, centre - (yx + yy) * centre
    return tf.stack([xx, xy, shift_x, yx, yy, shift_y, zeros, zeros], axis=1)
