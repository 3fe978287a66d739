"""Augmentation of a batch of slices: one combined warp, then colours and grey values, then MixUp or CutMix.

Every random number is a pure function of a seed, so that a resumed run gets the views of an uninterrupted one; Keras's
augmentation layers do not offer this. One affine warp in uint8 by OpenCV, for flips, rotation, zoom, shear and shift,
costs a tenth of TensorFlow's; Keras's layers would warp once for each of them.
"""

import math
from functools import partial

import cv2
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.train.recipe import Recipe

Slices = npt.NDArray[np.uint8]
_MEAN_STRIDE = 4  # rows and columns between the pixels of which the mean grey value is estimated


def augment(slices: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Warp each slice, change contrast and brightness at random, and convert a share of the views to grey.

    Uncovered corners are black in grey, and in colour have the median colour of the slice's border, with which
    photographs are padded.

    Args:
        slices: Slices, uint8 [N, S, S, C].
        seed: Seed, int64 [2]; the same seed gives the same views.
        recipe: Strengths of the changes.

    Returns:
        float32 [N, S, S, C], whole numbers in 0..255.
    """
    warp_seed, contrast_seed, brightness_seed = tf.unstack(tf.random.split(seed, 3))
    count, edge = tf.shape(slices)[0], tf.cast(tf.shape(slices)[1], tf.float32)
    parameters = (
        _draw_warps(count, edge, warp_seed, recipe),
        _draw_factors(count, contrast_seed, recipe.contrast),
        _draw_factors(count, brightness_seed, recipe.brightness),
        _draw_conversions_to_grey(count, seed, recipe.greyscale),
    )
    views = tf.numpy_function(_render, [slices, *parameters], tf.uint8, stateful=False)
    return tf.cast(tf.ensure_shape(views, slices.shape), tf.float32)


def _render(
    slices: Slices,
    warps: npt.NDArray[np.float32],
    contrasts: npt.NDArray[np.float32],
    gains: npt.NDArray[np.float32],
    conversions_to_grey: npt.NDArray[np.bool_],
) -> Slices:
    """Resample each slice through its warp, then scale its grey values about their mean and multiply them."""
    views = np.empty_like(slices)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    parameters = zip(slices, warps, contrasts, gains, conversions_to_grey, views, strict=True)
    for image, warp, contrast, gain, is_grey, view in parameters:
        corners = _border_colour(image)
        warped_image = cv2.warpAffine(image, warp, image.shape[1::-1], flags=flags, borderValue=corners)
        warped_image = warped_image.reshape(image.shape)
        if is_grey and image.shape[-1] == 3:
            warped_image = cv2.cvtColor(cv2.cvtColor(warped_image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        view[...] = cv2.LUT(warped_image, _grey_values(warped_image, contrast, gain)).reshape(image.shape)
    return views


def _border_colour(image: Slices) -> tuple[int, ...]:
    """Return the median of each channel over the border of a slice in colour; black for a slice in grey."""
    if image.shape[-1] == 1:
        return (0,)
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    middle = len(border) // 2
    return tuple(int(value) for value in np.partition(border, middle, axis=0)[middle])


def _grey_values(view: Slices, contrast: np.float32, gain: np.float32) -> Slices:
    """Return the new value of each grey value, uint8 [256]; black stays black."""
    sample = view[::_MEAN_STRIDE, ::_MEAN_STRIDE]
    specimen = sample[sample > 0]
    mean = specimen.mean() if specimen.size else 0.0
    table = np.rint(((np.arange(256) - mean) * contrast + mean) * gain).clip(0, 255).astype(np.uint8)
    table[0] = 0
    return table


def mix(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tuple[tf.Tensor, tf.Tensor]:
    """With the recipe's probability, mix each slice and label of a batch with another one by MixUp or CutMix.

    If the recipe enables both, each batch is mixed by one of them with equal probability.

    Args:
        slices: Slices, float32 [N, S, S, C], or for MixUp alone their features, float32 [N, ...].
        labels: Labels, float32 [N, K], rows of sum 1.
        seed: Seed, int64 [2].
        recipe: Probability of mixing, and parameters of the beta distributions.

    Returns:
        Slices and labels of the same shapes.
    """
    methods = [
        (method, alpha) for method, alpha in ((_mix_up, recipe.mixup_alpha), (_cut_mix, recipe.cutmix_alpha)) if alpha
    ]
    if not methods or not recipe.mix_probability:
        return slices, labels
    coin_seed, method_seed, mixing_seed = tf.unstack(tf.random.split(seed, 3))
    branches = [partial(method, slices, labels, mixing_seed, alpha) for method, alpha in methods]
    branch = tf.random.stateless_uniform([], method_seed, maxval=len(branches), dtype=tf.int32)
    applies = tf.random.stateless_uniform([], coin_seed) < recipe.mix_probability
    return tuple(tf.cond(applies, lambda: tf.switch_case(branch, branches), lambda: (slices, labels)))


def _mix_up(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each slice with its neighbour in the batch (Zhang et al. 2018, arXiv 1710.09412)."""
    share = _beta(tf.shape(slices)[0], seed, alpha)
    slice_share, label_share = tf.reshape(share, [-1] + [1] * (slices.shape.rank - 1)), share[:, None]
    return (
        slices * slice_share + tf.roll(slices, 1, axis=0) * (1 - slice_share),
        labels * label_share + tf.roll(labels, 1, axis=0) * (1 - label_share),
    )


def _cut_mix(slices: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, alpha: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of the neighbour into each slice; labels follow its area (Yun et al. 2019, 1905.04899)."""
    share_seed, position_seed = tf.unstack(tf.random.split(seed, 2))
    count, edge = tf.shape(slices)[0], tf.shape(slices)[1]
    side = tf.sqrt(1 - _beta(count, share_seed, alpha)) * tf.cast(edge, tf.float32)
    middle = tf.random.stateless_uniform([2, count], position_seed, maxval=tf.cast(edge, tf.float32))
    centres = tf.range(edge, dtype=tf.float32) + 0.5
    rows, columns = (tf.abs(centres[None] - centre[:, None]) < side[:, None] / 2 for centre in tf.unstack(middle))
    inside = rows[:, :, None] & columns[:, None, :]
    share = 1 - tf.reduce_mean(tf.cast(inside, tf.float32), axis=[1, 2])[:, None]
    return (
        tf.where(inside[..., None], tf.roll(slices, 1, axis=0), slices),
        labels * share + tf.roll(labels, 1, axis=0) * (1 - share),
    )


def _beta(count: tf.Tensor, seed: tf.Tensor, alpha: float) -> tf.Tensor:
    """Draw from Beta(alpha, alpha), float32 [count], as a ratio of gamma variates."""
    one, other = tf.unstack(tf.random.stateless_gamma([2, count], seed, alpha))
    return tf.math.divide_no_nan(one, one + other)


def _draw_factors(count: tf.Tensor, seed: tf.Tensor, strength: float) -> tf.Tensor:
    return tf.random.stateless_uniform([count], seed, 1 - strength, 1 + strength)


def _draw_conversions_to_grey(count: tf.Tensor, seed: tf.Tensor, share: float) -> tf.Tensor:
    """Draw the views that are converted to grey, bool [N]; other draws do not depend on the share."""
    return tf.random.stateless_uniform([count], tf.random.experimental.stateless_fold_in(seed, 1)) < share


def _draw_warps(count: tf.Tensor, edge: tf.Tensor, seed: tf.Tensor, recipe: Recipe) -> tf.Tensor:
    """Draw affine maps from output to input, float32 [N, 2, 3]: flip, shear, turn and zoom about the centre, shift."""
    turn = 2 * math.pi * recipe.rotation
    strengths = tf.constant([turn, recipe.zoom, recipe.shear, recipe.shift, recipe.shift, 1.0, 1.0])
    draws = tf.random.stateless_uniform([7, count], seed, -1.0, 1.0) * strengths[:, None]
    angle, zoom, shear, across, down, mirror_x, mirror_y = tf.unstack(draws)
    mirror_x = tf.sign(mirror_x) if recipe.flips != "none" else tf.ones_like(mirror_x)
    mirror_y = tf.sign(mirror_y) if recipe.flips == "both" else tf.ones_like(mirror_y)
    cosine, sine = tf.cos(angle) * (1 + zoom), tf.sin(angle) * (1 + zoom)
    xx, xy = cosine * mirror_x, (cosine * shear - sine) * mirror_y
    yx, yy = sine * mirror_x, (sine * shear + cosine) * mirror_y
    centre = (edge - 1) / 2
    shift_x = centre - (xx + xy) * centre + across * edge
    shift_y = centre - (yx + yy) * centre + down * edge
    return tf.stack([tf.stack([xx, xy, shift_x], axis=1), tf.stack([yx, yy, shift_y], axis=1)], axis=1)
