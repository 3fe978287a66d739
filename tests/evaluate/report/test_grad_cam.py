"""Activation maps show the regions that a network used, for every kind of network."""

import keras
import numpy as np
import pytest

from components.evaluate.report.grad_cam import GRAD_CAM, INPUT_GRADIENT, activation_maps, feature_map
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import BACKBONES, InputSpec

layers = keras.layers


def bright_spots() -> np.ndarray:
    """Return two slices of 32 px, one with a bright square at the top left, one at the bottom right."""
    slices = np.zeros((2, 32, 32, 1), np.uint8)
    slices[0, 4:12, 4:12] = 255
    slices[1, 20:28, 20:28] = 255
    return slices


def spot_network() -> keras.Model:
    """Return a network whose logit of species 0 is the brightness and that of species 1 its negative."""
    slices = keras.Input((32, 32, 1))
    bright = layers.Conv2D(1, 1, use_bias=False, kernel_initializer="ones")(layers.AveragePooling2D(4)(slices))
    embedding = layers.GlobalAveragePooling2D(name="embedding")(bright)
    logits = layers.Dense(2, kernel_initializer=keras.initializers.Constant(np.array([[1.0, -1.0]])))(embedding)
    return keras.Model(slices, [logits, embedding])


def token_network(read_class_token: bool) -> keras.Model:
    """Return a network of 16 tokens of 8 px and a class token, of which it may read only the latter."""
    slices = keras.Input((32, 32, 1))
    patches = layers.Reshape((16, 1))(layers.AveragePooling2D(8)(slices))
    class_token = layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling1D(keepdims=True)(patches))
    tokens = layers.Identity()(layers.Concatenate(axis=1)([class_token, patches]))
    pooled = layers.Cropping1D((0, 16))(tokens) if read_class_token else tokens
    embedding = layers.GlobalAveragePooling1D(name="embedding")(pooled)
    logits = layers.Dense(2, kernel_initializer=keras.initializers.Constant(np.array([[1.0, -1.0]])))(embedding)
    return keras.Model(slices, [logits, embedding])


def test_the_map_is_highest_in_the_region_that_the_network_uses() -> None:
    result = activation_maps(spot_network(), bright_spots(), np.array([0, 0]))
    assert result.method == GRAD_CAM
    assert result.maps.shape == (2, 32, 32)
    assert result.maps.max(axis=(1, 2)) == pytest.approx(1)
    assert result.maps[0, 4:12, 4:12].mean() > 10 * result.maps[0, 16:, 16:].mean()
    assert result.maps[1, 20:28, 20:28].mean() > 10 * result.maps[1, :16, :16].mean()


def test_a_species_without_support_has_a_blank_map() -> None:
    assert not activation_maps(spot_network(), bright_spots(), np.array([1, 1])).maps.any()


def test_tokens_of_a_transformer_are_arranged_as_patches() -> None:
    result = activation_maps(token_network(read_class_token=False), bright_spots(), np.array([0, 0]))
    assert result.method == GRAD_CAM
    assert result.maps[0, :16, :16].mean() > 3 * result.maps[0, 16:, 16:].mean()


def test_the_input_gradient_replaces_a_missing_feature_map() -> None:
    slices = keras.Input((32, 32, 1))
    embedding = layers.Flatten(name="embedding")(slices)
    network = keras.Model(slices, [layers.Dense(2)(embedding), embedding])
    result = activation_maps(network, bright_spots(), np.array([0, 1]))
    assert feature_map(network) is None
    assert result.method == INPUT_GRADIENT
    assert result.maps.max(axis=(1, 2)) == pytest.approx(1)


@pytest.mark.parametrize("name", ["cnn_small", "resnet_small"])
def test_the_feature_map_of_a_backbone_is_the_input_of_its_pooling(name: str) -> None:
    assert name in BACKBONES
    network = build_backbone(name, InputSpec(32, 1, 3))
    features = feature_map(network)
    assert features is not None
    assert features is network.get_layer("embedding").input
