"""The interface of a family of networks: Keras, keras-hub, and the networks of this repository."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from components.shared.errors import BadConfigError

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

    def published(self, network: str, image_size: int) -> keras.Model:
        """Build a network without its top, with the weights that its authors published, which are downloaded.

        The default rejects the request, for families without such weights.

        Raises:
            Exception: Any error of the library that downloads the weights.
        """
        raise BadConfigError(
            f"published weights of {network} at {image_size} px, which cannot be downloaded",
            "'none' or a file",
            "Set the recipe's weights to none, or to the path or URI of a file.",
        )

    def set_published(self, features: keras.Model, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Set the weights of a network to those of a published file. The default rejects the request.

        Args:
            features: Network built by `features`, changed in place.
            tensors: Arrays of the file by their names.

        Raises:
            BadConfigError: The arrays are not those of the network.
        """
        raise BadConfigError(f"{len(tensors)} arrays for {features.name}, a network without a published file")

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
