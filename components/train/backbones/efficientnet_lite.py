"""EfficientNet-Lite (Liu 2020): EfficientNet (Tan and Le 2019) without squeeze-and-excitation and with ReLU6.

Stem and head have the same size in every network; width and depth of the stages between them are scaled. The embedding
also contains the last four stages: features of several depths transfer better to images unlike those of ImageNet (Evci
et al. 2022, arXiv 2201.03529).
Layers are named as in the published file for PyTorch, without the leading underscores.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadConfigError
from components.train.backbones.family import Family

layers = keras.layers

_STEM_FILTERS, _HEAD_FILTERS = 32, 1280
_EMBEDDED_STAGES = 4
_CLASSIFIER, _COUNTER = "_fc.", ".num_batches_tracked"


class Stage(NamedTuple):
    """Inverted residual blocks with one output width.

    Attributes:
        repeats: Number of blocks.
        kernel: Edge of the depthwise kernels in pixels.
        strides: Strides of the first block; those of the others are 1.
        expansion: Factor by which a block widens its input.
        filters: Number of output channels.
    """

    repeats: int
    kernel: int
    strides: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Width and depth of each network, as multiples of those of `STAGES`."""


class EfficientNetLiteFamily(Family):
    """The three smaller networks; a package contains the weights of each."""

    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Build a network with random weights.

        It takes float32 [N, S, S, 3] and returns a map [N, S/32, S/32, D], in which the channels of the last four
        stages precede the 1280 channels of the published network.
        """
        del channels  # the published weights take three
        width, depth = SCALES[network]
        slices = keras.Input((image_size, image_size, 3))
        x = _activate(_normalize(_convolution(slices, _STEM_FILTERS, "conv_stem", kernel=3, strides=2), "bn0"), "relu0")
        number, outputs = 0, []
        for stage in _scaled_stages(width, depth):
            for repeat in range(stage.repeats):
                x = _block(x, stage._replace(strides=1 if repeat else stage.strides), f"blocks.{number}")
                number += 1
            outputs.append(x)
        x = _activate(_normalize(_convolution(x, _HEAD_FILTERS, "conv_head"), "bn1"), "relu1")
        stages = [_reduce(output, x.shape[1], f"stage{n}") for n, output in enumerate(outputs[-_EMBEDDED_STAGES:])]
        return keras.Model(slices, layers.Concatenate(name="maps")([*stages, x]), name="features")

    def embed(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Concatenate the means of the maps of the stages and of the published network over their positions."""
        means = layers.GlobalAveragePooling2D(name="means")(features)
        sizes = _channels_of_maps(features.shape[-1])
        parts = [means[:, end - size : end] for end, size in zip(np.cumsum(sizes).tolist(), sizes, strict=True)]
        return layers.Concatenate(name="embedding")(parts)

    def set_published(self, features: keras.Model, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights to those of a published file for PyTorch, whose classification layer is ignored.

        Raises:
            BadConfigError: Names or shapes of the arrays are not those of the network.
        """
        arrays = {name: array for name, array in tensors.items() if _is_of_features(name)}
        weights = {layer: _published_weights(layer, arrays) for layer in features.layers if layer.weights}
        file_shapes = {layer: [array.shape for array in layer_weights] for layer, layer_weights in weights.items()}
        network_shapes = {layer: [tuple(weight.shape) for weight in layer.weights] for layer in weights}
        if file_shapes != network_shapes or len(arrays) != sum(map(len, weights.values())):
            raise BadConfigError("the file of weights does not fit the network", "a file of the same network")
        for layer, layer_weights in weights.items():
            layer.set_weights(layer_weights)


def _channels_of_maps(channels: int) -> list[int]:
    """Return the numbers of channels of the embedded stages and of the published map in a map of all of them."""
    for width, depth in SCALES.values():
        sizes = [stage.filters for stage in _scaled_stages(width, depth)][-_EMBEDDED_STAGES:]
        if sum(sizes) + _HEAD_FILTERS == channels:
            return [*sizes, _HEAD_FILTERS]
    raise ValueError(f"{channels} channels are those of no network")


def _reduce(x: keras.KerasTensor, edge: int, name: str) -> keras.KerasTensor:
    """Return a map of the given edge, averaged over squares of 2x2 positions if it is larger."""
    return x if x.shape[1] == edge else layers.AveragePooling2D(2, padding="same", name=name)(x)


def _scaled_stages(width: float, depth: float) -> list[Stage]:
    """Return the stages of a network; the depth of the first stage and of the last one is not scaled."""
    last = len(STAGES) - 1
    return [
        stage._replace(
            filters=_scale_filters(stage.filters, width),
            repeats=stage.repeats if number in (0, last) else math.ceil(stage.repeats * depth),
        )
        for number, stage in enumerate(STAGES)
    ]


def _scale_filters(filters: int, width: float) -> int:
    """Return a scaled number of filters, rounded to a multiple of 8 that is at least 90 % of it."""
    multiple = max(8, int(filters * width + 4) // 8 * 8)
    return multiple + 8 if multiple < 0.9 * filters * width else multiple


def _block(x: keras.KerasTensor, stage: Stage, name: str) -> keras.KerasTensor:
    """Apply an inverted residual block (Sandler et al. 2018): expand, filter each channel, project, add the input."""
    y = x
    if stage.expansion > 1:
        y = _convolution(x, x.shape[-1] * stage.expansion, f"{name}.expand_conv")
        y = _activate(_normalize(y, f"{name}.bn0"), f"{name}.relu0")
    y = layers.DepthwiseConv2D(
        stage.kernel, stage.strides, padding="same", use_bias=False, name=f"{name}.depthwise_conv"
    )(y)
    y = _activate(_normalize(y, f"{name}.bn1"), f"{name}.relu1")
    y = _normalize(_convolution(y, stage.filters, f"{name}.project_conv"), f"{name}.bn2")
    is_residual = stage.strides == 1 and x.shape[-1] == stage.filters
    return layers.Add(name=f"{name}.add")([y, x]) if is_residual else y


def _convolution(x: keras.KerasTensor, filters: int, name: str, kernel: int = 1, strides: int = 1) -> keras.KerasTensor:
    return layers.Conv2D(filters, kernel, strides, padding="same", use_bias=False, name=name)(x)


def _normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _activate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=name)(x)


def _is_of_features(name: str) -> bool:
    return not name.startswith(_CLASSIFIER) and not name.endswith(_COUNTER)


def _published_weights(layer: keras.Layer, arrays: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
    """Return the arrays of a layer in Keras's order and layout.

    Raises:
        BadConfigError: An array is missing, or a kernel has no four axes.
    """
    prefix = ".".join(part if part.isdigit() else f"_{part}" for part in layer.name.split("."))
    is_normalization = isinstance(layer, layers.BatchNormalization)
    kinds = ("weight", "bias", "running_mean", "running_var") if is_normalization else ("weight",)
    weights = [arrays.get(f"{prefix}.{kind}", np.empty(0)) for kind in kinds]
    if is_normalization or weights[0].ndim != 4:
        return weights
    order = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [weights[0].transpose(order)]
