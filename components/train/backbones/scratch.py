"""Networks without published weights."""

import keras

from components.train.backbones.family import Family

layers = keras.layers

PUBLISHED_BLOCKS = ((32, 0.25), (64, 0.25), (128, 0.3), (256, 0.3))
"""Filters and dropout of the stages of the published network for photographs."""


class ScratchFamily(Family):
    """Small networks that are trained from random weights."""

    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Build a network with random weights: float32 [N, S, S, C] to a feature map."""
        slices = keras.Input((image_size, image_size, channels))
        return keras.Model(slices, NETWORKS[network](slices), name="features")


def _cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply the published network for photographs: four stages of two 3x3 convolutions with batch norm, and pooling."""
    for filters, dropout in PUBLISHED_BLOCKS:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same")(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Dropout(dropout)(layers.MaxPooling2D()(x))
    return x


def _cnn_small(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply six 3x3 convolutions in four stages, about 285,000 weights."""
    for filters, repeats in ((16, 1), (32, 1), (64, 2), (128, 2)):
        for _ in range(repeats):
            x = layers.ReLU()(_convolution(x, filters))
        x = layers.MaxPooling2D()(x)
    return x


def _resnet_small(x: keras.KerasTensor) -> keras.KerasTensor:
    """Apply a residual network for two cores: a stem at half resolution and four blocks, about 360,000 weights."""
    x = layers.ReLU()(_convolution(x, 24, kernel=5, strides=2))
    for filters, strides in ((32, 2), (64, 1), (64, 2), (112, 2)):
        x = _residual_block(x, filters, strides)
    return x


def _convolution(x: keras.KerasTensor, filters: int, kernel: int = 3, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def _residual_block(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Apply two 3x3 convolutions with a shortcut (He et al. 2016)."""
    y = layers.ReLU()(_convolution(x, filters, strides=strides))
    y = _convolution(y, filters)
    if strides > 1 or x.shape[-1] != filters:
        x = _convolution(layers.AveragePooling2D(strides)(x) if strides > 1 else x, filters, kernel=1)
    return layers.ReLU()(layers.Add()([x, y]))


NETWORKS = {"cnn": _cnn, "cnn_small": _cnn_small, "resnet_small": _resnet_small}
