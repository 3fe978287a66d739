"""DINOv2 with registers (Oquab et al. 2023, Darcet et al. 2023), as keras-hub has it.

Self-supervised on LVD-142M: its frozen features with a linear probe rival fine-tuning on small sets of fossils.
"""

import keras
import keras_hub

from components.train.backbones.applications import finish_weights

__all__ = ["embedded", "features", "finish_weights", "published"]
layers = keras.layers

PATCH, REGISTERS = 14, 4


def features(network: str, image_size: int, channels: int) -> keras.Model:
    """Builds the small network with random weights: float32 [N, S, S, 3], normalised, to tokens [N, T, 384]."""
    del network, channels  # there is one, of three channels
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


def embedded(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Joins the class token and the mean of the patches' tokens, as the paper's linear probes do."""
    patches = layers.GlobalAveragePooling1D(name="patches")(tokens[:, 1 + REGISTERS :])
    return layers.Concatenate(name="embedding")([tokens[:, 0], patches])


def published(network: str, image_size: int) -> keras.Model:
    """Builds the network with its published weights, which keras-hub downloads.

    Raises:
        Exception: whatever keras-hub raises where there is no network.
    """
    return keras_hub.models.DINOV2Backbone.from_preset(network, image_shape=(image_size, image_size, 3))
