"""The two phases of a training: the head on frozen features, then the last layers with it."""

from dataclasses import dataclass

import keras

from components.train.backbones.registry import find_backbone
from components.train.recipe import Recipe
from components.train.weights import NONE


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one optimizer.

    Attributes:
        number: 1 with frozen features, 2 with the last layers.
        epochs: at most.
        learning_rate: its peak.
        unfreeze: how many of the last layers of the features are trained; None trains them all.
    """

    number: int
    epochs: int
    learning_rate: float
    unfreeze: int | None


def phases_of(recipe: Recipe, backbone: str) -> tuple[Phase, ...]:
    """Lists the phases that a recipe asks for, in order."""
    both = (
        Phase(1, recipe.frozen_epochs, recipe.frozen_learning_rate, 0),
        Phase(2, recipe.epochs, recipe.learning_rate, _depth(recipe, backbone)),
    )
    return tuple(phase for phase in both if phase.epochs)


def _depth(recipe: Recipe, backbone: str) -> int | None:
    if isinstance(recipe.unfreeze, int):
        return recipe.unfreeze
    if recipe.unfreeze == "all" or recipe.weights == NONE:
        return None
    return find_backbone(backbone).unfreeze


def freeze(model: keras.Model, phase: Phase) -> None:
    """Makes the layers trainable that a phase trains: the head, and the last layers of the features.

    A frozen batch normalisation uses its moving statistics and leaves them as they are, since Keras runs it in
    inference mode.
    """
    features = model.get_layer("features")
    first = 0 if phase.unfreeze is None else max(0, len(features.layers) - phase.unfreeze)
    features.trainable = first < len(features.layers)  # reaches every layer inside
    for layer in features.layers[:first]:
        layer.trainable = False
