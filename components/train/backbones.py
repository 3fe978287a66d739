"""The registry of backbones.

Each takes float32 [N, size, size, channels] in 0..255 (its own normalisation is inside), has a layer named `embedding`
and returns logits [N, K].
"""

from collections.abc import Callable
from dataclasses import dataclass

import keras

from components.shared.errors import BadConfigError

layers = keras.layers


@dataclass(frozen=True)
class Backbone:
    """How to build a network and what it needs.

    Attributes:
        features: maps the normalised input tensor to a feature map or vector.
        dropout: share of the embedding dropped in training.
    """

    features: Callable[[keras.KerasTensor], keras.KerasTensor]
    dropout: float


def build_backbone(name: str, image_size: int, channels: int, classes: int) -> keras.Model:
    """Builds a backbone with random weights and a linear head.

    Args:
        name: a key of BACKBONES.
        image_size: edge of the input in pixels.
        channels: 1 or 3.
        classes: number of logits.

    Raises:
        BadConfigError: the name is not in the registry.
    """
    if name not in BACKBONES:
        raise BadConfigError(f"backbone {name!r}", f"one of {', '.join(BACKBONES)}", "Mend the backbones parameter.")
    backbone = BACKBONES[name]
    slices = keras.Input((image_size, image_size, channels), name="slices")
    features = backbone.features(layers.Rescaling(1 / 127.5, offset=-1.0, name="normalisation")(slices))
    embedding = layers.GlobalAveragePooling2D(name="embedding")(features)
    logits = layers.Dense(classes, name="logits", dtype="float32")(layers.Dropout(backbone.dropout)(embedding))
    return keras.Model(slices, logits, name=name)


def _convolution(x: keras.KerasTensor, filters: int, kernel: int = 3, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
    return layers.BatchNormalization(momentum=0.9)(x)


def _cnn_small(x: keras.KerasTensor) -> keras.KerasTensor:
    """Six 3x3 convolutions in four stages, about 285,000 weights."""
    for filters, repeats in ((16, 1), (32, 1), (64, 2), (128, 2)):
        for _ in range(repeats):
            x = layers.ReLU()(_convolution(x, filters))
        x = layers.MaxPooling2D()(x)
    return x


def _residual_block(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
    """Two 3x3 convolutions around a shortcut (He et al. 2016)."""
    y = layers.ReLU()(_convolution(x, filters, strides=strides))
    y = _convolution(y, filters)
    if strides > 1 or x.shape[-1] != filters:
        x = _convolution(layers.AveragePooling2D(strides)(x) if strides > 1 else x, filters, kernel=1)
    return layers.ReLU()(layers.Add()([x, y]))


def _resnet_small(x: keras.KerasTensor) -> keras.KerasTensor:
    """A residual network for two cores: stem at half resolution, four blocks, about 360,000 weights."""
    x = layers.ReLU()(_convolution(x, 24, kernel=5, strides=2))
    for filters, strides in ((32, 2), (64, 1), (64, 2), (112, 2)):
        x = _residual_block(x, filters, strides)
    return x


BACKBONES: dict[str, Backbone] = {
    "cnn_small": Backbone(_cnn_small, dropout=0.2),
    "resnet_small": Backbone(_resnet_small, dropout=0.2),
}
