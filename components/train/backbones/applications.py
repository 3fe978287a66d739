"""The networks of keras.applications, without their top."""

import keras
import numpy as np

from components.train.backbones.scaling import IMAGENET_DEVIATION, IMAGENET_MEAN

layers = keras.layers


def features(network: str, image_size: int, channels: int) -> keras.Model:
    """Builds a network with random weights: float32 [N, S, S, 3], normalised, to a feature map."""
    del channels  # published weights see three
    model = _application(network, image_size, weights=None)
    finish_weights(model)
    return model


def embedded(feature_map: keras.KerasTensor) -> keras.KerasTensor:
    """Averages a feature map over its positions."""
    return layers.GlobalAveragePooling2D(name="embedding")(feature_map)


def published(network: str, image_size: int) -> keras.Model:
    """Builds a network with the weights of ImageNet, which Keras downloads.

    Raises:
        Exception: whatever Keras raises where there is no network.
    """
    return _application(network, image_size, weights="imagenet")


def finish_weights(model: keras.Model) -> None:
    """Puts the statistics of ImageNet into a network that keeps them as weights, once those are set.

    EfficientNetB0's published file holds the deviation where the layer expects the variance; Keras corrects it with
    one layer more, in a network built with `imagenet` only, so that its weights do not fit one built without.
    """
    for layer in model.layers:
        if isinstance(layer, layers.Normalization) and layer.input_mean is None:
            layer.adapt_mean.assign(IMAGENET_MEAN)
            layer.adapt_variance.assign(np.square(IMAGENET_DEVIATION))
            layer.finalize_state()


def _application(network: str, image_size: int, weights: str | None) -> keras.Model:
    model = getattr(keras.applications, network)(
        include_top=False, weights=weights, input_shape=(image_size, image_size, 3)
    )
    model.name = "features"
    return model
