"""Phases, optimizer, learning rate, loss, precision and devices of a training."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import keras
import tensorflow as tf

from components.train.backbones.registry import find_backbone
from components.train.recipe import HEAD_FITS, LBFGS, Recipe
from components.train.weights import NONE

_FINAL_RATE = 0.01  # of the peak, at the end of the cosine decay


@dataclass(frozen=True)
class Phase:
    """A part of a training with its own optimizer.

    Attributes:
        number: 1 with frozen features, 2 with the last layers of the features.
        epochs: Maximum number of epochs.
        learning_rate: Peak learning rate.
        unfreeze: Number of last layers of the features that are trained; None trains all of them.
    """

    number: int
    epochs: int
    learning_rate: float
    unfreeze: int | None


def training_phases(recipe: Recipe, backbone: str) -> tuple[Phase, ...]:
    """Return the phases of a recipe in their order."""
    phases = (
        _head_phase(recipe),
        Phase(2, recipe.epochs, recipe.learning_rate, unfrozen_layers(recipe, backbone)),
    )
    return tuple(phase for phase in phases if phase.epochs)


def _head_phase(recipe: Recipe) -> Phase:
    """Return the phase of the head: gradient steps, or one epoch without steps for each fit of the solver."""
    if recipe.probe_solver == LBFGS:
        return Phase(1, len(HEAD_FITS), 0.0, 0)
    return Phase(1, recipe.frozen_epochs, recipe.frozen_learning_rate, 0)


def unfrozen_layers(recipe: Recipe, backbone: str) -> int | None:
    """Return the number of last layers of the features that the second phase trains; None for all."""
    if isinstance(recipe.unfreeze, int):
        return recipe.unfreeze
    if recipe.unfreeze == "all" or recipe.weights == NONE:
        return None
    return find_backbone(backbone).unfreeze


def freeze(model: keras.Model, phase: Phase) -> None:
    """Make the layers of a phase trainable: the head and the last layers of the features.

    Keras runs a frozen batch normalization in inference mode, so its moving statistics are used and do not change.
    """
    features = model.get_layer("features")
    first = 0 if phase.unfreeze is None else max(0, len(features.layers) - phase.unfreeze)
    features.trainable = first < len(features.layers)  # applies to every layer inside
    for layer in features.layers[:first]:
        layer.trainable = False


def build_optimizer(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    """Build AdamW with the recipe's schedule.

    Args:
        recipe: Settings of the optimizer.
        phase: Phase with the peak learning rate.
        steps: Steps per epoch.
    """
    return keras.optimizers.AdamW(
        _build_cosine(recipe, phase, steps) if recipe.schedule == "cosine" else phase.learning_rate,
        weight_decay=recipe.weight_decay,
        clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema_momentum > 0,
        ema_momentum=recipe.ema_momentum,
    )


def _build_cosine(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Build a linear warm-up to the phase's learning rate, followed by a cosine decay to a hundredth of it."""
    warmup = math.ceil(recipe.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=phase.learning_rate / 100 if warmup else phase.learning_rate,
        decay_steps=max(1, phase.epochs * steps - warmup),
        alpha=_FINAL_RATE,
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def build_loss(recipe: Recipe) -> keras.losses.Loss:
    """Build the loss on smoothed labels: cross-entropy or focal loss (Lin et al. 2017)."""
    if recipe.focal_gamma == 0:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=recipe.focal_gamma, from_logits=True, label_smoothing=recipe.label_smoothing
    )


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """Set Keras's dtype policy for layers built inside the block.

    Args:
        precision: Name of the policy, for example `mixed_float16`.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(previous)


def strategy_for(devices: Sequence[str]) -> tf.distribute.Strategy:
    """Return a strategy that divides each batch between devices; TensorFlow's default strategy for one or none.

    Args:
        devices: Names of logical devices, for example those of `list_gpus`.
    """
    return tf.distribute.MirroredStrategy(list(devices)) if len(devices) > 1 else tf.distribute.get_strategy()


def dividing_devices(devices: Sequence[str], batch: int, validation: int) -> list[str]:
    """Return the most devices that divide a training batch evenly and all get validation slices, as Keras requires.

    Args:
        devices: Names of logical devices.
        batch: Number of slices in a training batch.
        validation: Number of validation slices.
    """
    counts = range(min(len(devices), validation), 1, -1)
    return list(devices[: next((count for count in counts if batch % count == 0), 1)])


def list_gpus() -> list[str]:
    """Return the names of the GPUs that are visible to this process."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]
