"""How slices in 0..255 become what a network expects."""

import keras

from components.train.backbones.registry import Backbone

layers = keras.layers

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SCALES_AND_OFFSETS = {
    "0..1": (1 / 255, 0.0),
    "-1..1": (1 / 127.5, -1.0),
    "imagenet": (
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        [-mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
    ),
}


def normalised(backbone: Backbone, slices: keras.KerasTensor) -> keras.KerasTensor:
    """Scales slices as the registry says, grey ones as RGB where there are published weights, which see three channels.

    Args:
        backbone: the registry's entry.
        slices: float32 [N, S, S, C] in 0..255.
    """
    grey = slices.shape[-1] == 1 and backbone.published
    rgb = layers.Concatenate(name="rgb")([slices] * 3) if grey else slices
    if backbone.scaling == "inside":
        return rgb
    scale, offset = _SCALES_AND_OFFSETS[backbone.scaling]
    return layers.Rescaling(scale, offset=offset, name="normalisation")(rgb)
