"""Where in a slice a network found its reasons: gradient-weighted class activation maps.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV. The map
is that which goes into the network's last pooling; of a transformer, its last patch tokens. Where the logits do not
depend on these (a transformer that reads its class token), the gradient at the input is shown instead (Simonyan et al.
2014).
"""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

GRAD_CAM, INPUT_GRADIENT = "Grad-CAM", "input gradient"
_BLURRED_SHARE = 1 / 16


@dataclass(frozen=True)
class Attention:
    """Where the reasons for a species lie.

    Attributes:
        maps: float32 [N, S, S] in 0..1, each with its highest value at 1, or all zeros where nothing spoke for it.
        method: GRAD_CAM or INPUT_GRADIENT.
    """

    maps: NDArray[np.float32]
    method: str


def attention(network: keras.Model, crops: NDArray[np.uint8], labels: NDArray[np.int64]) -> Attention:
    """Finds what in each slice spoke for a species.

    Args:
        network: to (logits [N, K], embedding).
        crops: uint8 [N, S, S, C], as the network sees them.
        labels: the species in question for each slice, int64 [N].
    """
    slices = tf.cast(crops, tf.float32)
    features = feature_map(network)
    if features is not None:
        maps = _grad_cam(keras.Model(network.inputs, [network.outputs[0], features]), slices, labels)
        if maps is not None:
            return Attention(_normalised(_enlarged(maps, crops.shape[1])), GRAD_CAM)
    return Attention(_normalised(_input_gradient(network, slices, labels)), INPUT_GRADIENT)


def feature_map(network: keras.Model) -> keras.KerasTensor | None:
    """Finds the last tensor with places in it: [N, H, W, D] or tokens [N, T, D]; None if only the input has places."""
    slices = network.inputs[0]
    for layer in reversed(network.layers):
        if isinstance(layer, keras.layers.InputLayer | keras.Model) or layer.input is slices:
            continue  # a network inside the network has inputs of its own
        if not isinstance(layer.input, keras.KerasTensor):
            continue
        shape = layer.input.shape
        if len(shape) in (3, 4) and all(shape[1:]) and math.prod(shape[1:-1]) > 1:
            return layer.input
    return None


def _grad_cam(model: keras.Model, slices: tf.Tensor, labels: NDArray[np.int64]) -> tf.Tensor | None:
    """Returns float32 [N, H, W], or None where the logits do not depend on the map."""
    with tf.GradientTape() as tape:
        tape.watch(slices)
        logits, features = model(slices, training=False)
        chosen = tf.gather(logits, labels, axis=1, batch_dims=1)
    gradients = tape.gradient(chosen, features)
    if gradients is None or not tf.reduce_any(gradients != 0):
        return None
    features, gradients = _as_grid(features), _as_grid(gradients)
    weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))


def _as_grid(features: tf.Tensor) -> tf.Tensor:
    """Returns [N, H, W, D]; of tokens the last square number, since class and register tokens come first."""
    if len(features.shape) == 4:
        return features
    edge = math.isqrt(features.shape[1])
    return tf.reshape(features[:, -(edge**2) :], (-1, edge, edge, features.shape[2]))


def _input_gradient(network: keras.Model, slices: tf.Tensor, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    with tf.GradientTape() as tape:
        tape.watch(slices)
        chosen = tf.gather(network(slices, training=False)[0], labels, axis=1, batch_dims=1)
    steep = tf.reduce_max(tf.abs(tape.gradient(chosen, slices)), axis=-1)
    width = max(1, round(steep.shape[1] * _BLURRED_SHARE))
    return np.asarray(tf.nn.avg_pool2d(steep[..., tf.newaxis], width, 1, "SAME")[..., 0])


def _enlarged(maps: tf.Tensor, size: int) -> NDArray[np.float32]:
    return np.asarray(tf.image.resize(maps[..., tf.newaxis], (size, size), method="bicubic")[..., 0])


def _normalised(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretches each map to 0..1."""
    positive = np.maximum(maps, 0)
    highest = positive.max(axis=(1, 2), keepdims=True)
    return np.divide(positive, highest, out=np.zeros_like(positive), where=highest > 0)
