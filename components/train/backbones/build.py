"""Construction of the networks in the registry.

Each network takes float32 [N, S, S, C] in 0..255, normalizes it and returns logits [N, K]. Its layer `features`
contains all weights that can be pretrained; it also has a layer `embedding`.
"""

import keras

from components.train.backbones.applications import ApplicationsFamily
from components.train.backbones.dinov2 import Dinov2Family
from components.train.backbones.efficientnet_lite import EfficientNetLiteFamily
from components.train.backbones.family import IMAGENET_DEVIATION, IMAGENET_MEAN, Family
from components.train.backbones.registry import Backbone, InputSpec, check_image_size, find_backbone
from components.train.backbones.scratch import ScratchFamily

layers = keras.layers

FAMILIES: dict[str, type[Family]] = {
    "scratch": ScratchFamily,
    "applications": ApplicationsFamily,
    "dinov2": Dinov2Family,
    "efficientnet_lite": EfficientNetLiteFamily,
}
_SCALES_AND_OFFSETS = {
    "0..1": (1 / 255, 0.0),
    "-1..1": (1 / 127.5, -1.0),
    "(x-127)/128": (1 / 128, -127 / 128),
    "imagenet": (
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
    ),
}


def family_of(backbone: Backbone) -> Family:
    """Return the family that builds a backbone's network."""
    return FAMILIES[backbone.family]()


def build_backbone(name: str, spec: InputSpec) -> keras.Model:
    """Build a backbone and its head with random weights.

    Args:
        name: Key of `BACKBONES`.
        spec: Size and channels of the input, and number of classes.

    Raises:
        BadConfigError: The name is not in the registry, or the input is too small for the network.
    """
    backbone = find_backbone(name)
    check_image_size(name, spec.image_size)
    family = family_of(backbone)
    slices = keras.Input((spec.image_size, spec.image_size, spec.channels), name="slices")
    features = family.features(backbone.network, spec.image_size, spec.channels)
    embedding = family.embed(_call(features, normalize(backbone, slices)))
    return keras.Model(slices, _add_head(backbone, embedding, spec.classes), name=name)


def normalize(backbone: Backbone, slices: keras.KerasTensor) -> keras.KerasTensor:
    """Scale slices as the registry states, and repeat a grey channel three times for networks with published weights.

    Args:
        backbone: Entry of the registry.
        slices: Symbolic tensor, float32 [N, S, S, C] in 0..255.
    """
    grey = slices.shape[-1] == 1 and backbone.has_published_weights
    rgb = layers.Concatenate(name="rgb")([slices] * 3) if grey else slices
    if backbone.input_scale == "inside":
        return rgb
    scale, offset = _SCALES_AND_OFFSETS[backbone.input_scale]
    return layers.Rescaling(scale, offset=offset, name="normalisation")(rgb)


def parts_of_embedding(network: keras.Model) -> tuple[int, ...]:
    """Return the numbers of features of the vectors that a backbone's embedding concatenates; one number if none."""
    embedding = network.get_layer("embedding")
    inputs = embedding.input if isinstance(embedding, layers.Concatenate) else [embedding.output]
    return tuple(tensor.shape[-1] for tensor in inputs)


def _call(features: keras.Model, slices: keras.KerasTensor) -> keras.KerasTensor:
    """Call a network; those of keras-hub take a dictionary."""
    return features({"images": slices}) if isinstance(features.input, dict) else features(slices)


def _add_head(backbone: Backbone, embedding: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    logits = layers.Dense(classes, name="logits", dtype="float32")
    x = layers.Dropout(backbone.dropout)(embedding) if backbone.dropout else embedding
    for layer in backbone.head:
        x = layers.Dropout(layer.dropout)(layers.Dense(layer.units, activation="relu")(x))
    return logits(x)
