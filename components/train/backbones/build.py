"""Builds the networks of the registry.

Each takes float32 [N, S, S, C] in 0..255 (its normalisation is inside), has a layer `features` that holds what can be
pre-trained and a layer `embedding`, and returns logits [N, K].
"""

import importlib
from typing import Protocol

import keras

from components.shared.errors import BadConfigError
from components.train.backbones.registry import Backbone, find_backbone
from components.train.backbones.scaling import normalised

layers = keras.layers


class Family(Protocol):
    """What a module of this folder offers for the networks that it knows."""

    def features(self, network: str, image_size: int, channels: int) -> keras.Model:
        """Builds the network with random weights and the name `features`."""

    def embedded(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """Maps the network's output to a vector, in a layer named `embedding`."""

    def published(self, network: str, image_size: int) -> keras.Model:
        """Builds the network with the weights that its authors publish."""

    def finish_weights(self, model: keras.Model) -> None:
        """Corrects a network whose weights were just set."""


def family_of(backbone: Backbone) -> Family:
    """Imports the module that knows a backbone's network, and with it whatever that needs."""
    module: Family = importlib.import_module(f"components.train.backbones.{backbone.family}")
    return module


def build_backbone(name: str, image_size: int, channels: int, classes: int) -> keras.Model:
    """Builds a backbone with random weights and its head.

    Args:
        name: a key of BACKBONES.
        image_size: edge of the input in pixels.
        channels: 1 or 3.
        classes: number of logits.

    Raises:
        BadConfigError: the name is not in the registry, or the input is too small for it.
    """
    backbone = find_backbone(name)
    if image_size < backbone.smallest_size:
        raise BadConfigError(
            f"{name} at {image_size} px",
            f"at least {backbone.smallest_size} px",
            "Give the recipe an image_size, or cut larger slices.",
        )
    family = family_of(backbone)
    slices = keras.Input((image_size, image_size, channels), name="slices")
    features = family.features(backbone.network, image_size, channels)
    embedding = family.embedded(_applied(features, normalised(backbone, slices)))
    return keras.Model(slices, _head(backbone, embedding, classes), name=name)


def _applied(features: keras.Model, normalised: keras.KerasTensor) -> keras.KerasTensor:
    """Calls a network, whose input keras-hub names."""
    return features({"images": normalised}) if isinstance(features.input, dict) else features(normalised)


def _head(backbone: Backbone, embedding: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    logits = layers.Dense(classes, name="logits", dtype="float32")
    x = layers.Dropout(backbone.dropout)(embedding) if backbone.dropout else embedding
    for hidden in backbone.head:
        x = layers.Dropout(hidden.dropout)(layers.Dense(hidden.units, activation="relu")(x))
    return logits(x)
