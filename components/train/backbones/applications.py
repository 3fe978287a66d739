"""Networks of keras.applications."""

import keras

from components.train.backbones.family import Family


class ApplicationsFamily(Family):
    """Networks of keras.applications, without their top."""

    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Build a network with random weights: float32 [N, S, S, 3] to a feature map."""
        del channels  # the published weights take three
        model = _build_application(network, image_size, weights=None)
        self.finish_weights(model)
        return model

    def published(self, network: str, image_size: int) -> keras.Model:
        """Build a network with the weights of ImageNet, which Keras downloads."""
        return _build_application(network, image_size, weights="imagenet")


def _build_application(network: str, image_size: int, weights: str | None) -> keras.Model:
    model = getattr(keras.applications, network)(
        include_top=False, weights=weights, input_shape=(image_size, image_size, 3)
    )
    model.name = "features"
    return model
