"""Gradient-weighted class activation maps: the regions of a slice that support a species.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV. The
feature map is the input of the network's last pooling; of a transformer, its last patch tokens. If the logits do not
depend on them (a transformer that reads its class token), the gradient at the input is used instead (Simonyan et al.
2014).
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

GRAD_CAM, INPUT_GRADIENT = "Grad-CAM", "input gradient"
_BLUR_SHARE = 1 / 16


@dataclass(frozen=True)
class ActivationMaps:
    """Activation maps of N slices.

    Attributes:
        maps: Maps float32 [N, S, S] in 0..1. The highest value of each is 1; it is all zeros where no region supports
            the species.
        method: GRAD_CAM or INPUT_GRADIENT.
    """

    maps: NDArray[np.float32]
    method: str


def activation_maps(network: keras.Model, crops: NDArray[np.uint8], labels: NDArray[np.int64]) -> ActivationMaps:
    """Compute the regions of each slice that support a species.

    Args:
        network: Network with the outputs logits [N, K] and embedding.
        crops: Slices at the network's input size, uint8 [N, S, S, C].
        labels: Label of the species for each slice, int64 [N].
    """
    slices = tf.cast(crops, tf.float32)
    features = feature_map(network)
    if features is not None:
        maps = _grad_cam(keras.Model(network.inputs, [network.outputs[0], features]), slices, labels)
        if maps is not None:
            return ActivationMaps(_normalise(_enlarge(maps, crops.shape[1])), GRAD_CAM)
    return ActivationMaps(_normalise(_input_gradient(network, slices, labels)), INPUT_GRADIENT)


def feature_map(network: keras.Model) -> keras.KerasTensor | None:
    """Return the last feature map [N, H, W, D] or tokens [N, T, D]; None if only the network's input has positions."""
    slices = network.inputs[0]
    for layer in reversed(network.layers):
        if isinstance(layer, keras.layers.InputLayer | keras.Model) or layer.input is slices:
            continue  # a nested network has its own inputs
        if not isinstance(layer.input, keras.KerasTensor):
            continue
        shape = layer.input.shape
        if len(shape) in (3, 4) and all(shape[1:]) and math.prod(shape[1:-1]) > 1:
            return layer.input
    return None


def _grad_cam(model: keras.Model, slices: tf.Tensor, labels: NDArray[np.int64]) -> tf.Tensor | None:
    """Return Grad-CAM maps float32 [N, H, W], or None if the logits do not depend on the feature map."""
    with tf.GradientTape() as tape:
        tape.watch(slices)
        logits, features = model(slices, training=False)
        logit = tf.gather(logits, labels, axis=1, batch_dims=1)
    gradients = tape.gradient(logit, features)
    if gradients is None or not tf.reduce_any(gradients != 0):
        return None
    features, gradients = _as_grid(features), _as_grid(gradients)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))


def _as_grid(features: tf.Tensor) -> tf.Tensor:
    """Return features as [N, H, W, D]; of tokens the last square number, since class and register tokens come first."""
    if len(features.shape) == 4:
        return features
    edge = math.isqrt(features.shape[1])
    return tf.reshape(features[:, -(edge**2) :], (-1, edge, edge, features.shape[2]))


def _input_gradient(network: keras.Model, slices: tf.Tensor, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    with tf.GradientTape() as tape:
        tape.watch(slices)
        logit = tf.gather(network(slices, training=False)[0], labels, axis=1, batch_dims=1)
    magnitudes = tf.reduce_max(tf.abs(tape.gradient(logit, slices)), axis=-1)
    width = max(1, round(magnitudes.shape[1] * _BLUR_SHARE))
    return np.asarray(tf.nn.avg_pool2d(magnitudes[..., tf.newaxis], width, 1, "SAME")[..., 0])


def _enlarge(maps: tf.Tensor, size: int) -> NDArray[np.float32]:
    return np.asarray(tf.image.resize(maps[..., tf.newaxis], (size, size), method="bicubic")[..., 0])


def _normalise(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each map to 0..1."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
