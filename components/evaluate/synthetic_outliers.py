"""Synthetic outliers: slices that keep the material of known specimens but have no species' anatomy.

They stand for unknown species where the open-set score is selected, so that no unseen species is used. Each is made of
a slice, or of a slice and another one, in one of four ways: its halves are swapped, one half is replaced by the other
slice's, the two are averaged (as in Zhang et al. 2018, MixUp), or each pixel is the brighter of the two.
"""

from collections.abc import Mapping

import tensorflow as tf


def synthesize_outliers(crops: Mapping[str, tf.Tensor], others: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Make an outlier of each slice of a batch and the slice of the same row of another batch.

    Args:
        crops: Slices uint8 [N, S, S, C] by input format.
        others: Other slices of the same shapes.
    """
    return {key: _synthesize(images, others[key]) for key, images in crops.items()}


def _synthesize(images: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    edge = images.shape[1]
    rows = tf.range(tf.shape(images)[0])[:, None, None, None]
    is_vertical = rows // 4 % 2 == 0
    first = tf.range(edge) < edge // 2
    exchange = tf.where(is_vertical, tf.roll(images, edge // 2, 1), tf.roll(images, edge // 2, 2))
    graft = tf.where(tf.where(is_vertical, first[None, :, None, None], first[None, None, :, None]), images, others)
    average = tf.cast((tf.cast(images, tf.int32) + tf.cast(others, tf.int32)) // 2, tf.uint8)
    brighter = tf.maximum(images, others)
    kinds = rows % 4
    return tf.where(kinds == 0, exchange, tf.where(kinds == 1, graft, tf.where(kinds == 2, average, brighter)))
