"""DINOv2 with registers (Oquab et al. 2023, Darcet et al. 2023) from keras-hub.

It was trained by self-supervision on LVD-142M. On small sets of fossils, a linear probe on its frozen features is about
as accurate as fine-tuning.
"""

import keras

from components.train.backbones.family import Family

PATCH, REGISTERS = 14, 4


class Dinov2Family(Family):
    """The small network of DINOv2 with registers; keras-hub is imported only when the network is built."""

    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Build the network with random weights: float32 [N, S, S, 3] to tokens [N, T, 384]."""
        import keras_hub

        del network, channels  # there is one network, with three channels
        return keras_hub.models.DINOV2Backbone(
            patch_size=PATCH,
            num_layers=12,
            hidden_dim=384,
            num_heads=6,
            intermediate_dim=1536,
            num_register_tokens=REGISTERS,
            image_shape=(image_size, image_size, 3),
            position_embedding_shape=(518, 518),
            antialias_in_interpolation=True,
            name="features",
        )

    def published(self, network: str, image_size: int) -> keras.Model:
        """Build the network with its published weights, which keras-hub downloads."""
        import keras_hub

        return keras_hub.models.DINOV2Backbone.from_preset(network, image_shape=(image_size, image_size, 3))

    def embed(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Concatenate the class token and the mean of the patch tokens, as in the paper's linear probes."""
        patches = keras.layers.GlobalAveragePooling1D(name="patches")(features[:, 1 + REGISTERS :])
        return keras.layers.Concatenate(name="embedding")([features[:, 0], patches])
