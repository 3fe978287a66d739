"""The interface of a family of networks: Keras, keras-hub, and the networks of this repository."""

from abc import ABC, abstractmethod

import keras
import numpy as np

IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Family(ABC):
    """Networks from one source, which are built, embedded and loaded in the same way."""

    @abstractmethod
    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Build a network without its top, with random weights.

        Args:
            network: Name of the network in this family.
            image_size: Edge of the input in pixels.
            channels: Channels of the input, 1 or 3; published networks always have 3.

        Returns:
            A model named `features` that takes normalized float32 [N, S, S, C].
        """

    @abstractmethod
    def published(self, network: str, image_size: int) -> keras.Model:
        """Build a network without its top, with the weights that its authors published, which are downloaded.

        Raises:
            Exception: Any error of the library that downloads the weights.
        """

    def embed(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Reduce the network's output to one vector for each slice, in a layer named `embedding`.

        The default is the mean of a feature map over its positions.
        """
        return keras.layers.GlobalAveragePooling2D(name="embedding")(features)

    def finish_weights(self, features: keras.Model) -> None:
        """Set ImageNet's mean and variance in normalization layers that store them as weights, after loading.

        EfficientNetB0's published file contains the deviation where the layer expects the variance. Keras corrects this
        with an additional layer, but only in a network built with `weights="imagenet"`, so its weights do not fit a
        network built without.
        """
        for layer in features.layers:
            if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
                layer.adapt_mean.assign(IMAGENET_MEAN)
                layer.adapt_variance.assign(np.square(IMAGENET_DEVIATION))
                layer.finalize_state()
