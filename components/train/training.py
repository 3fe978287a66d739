"""Trains one backbone and leaves it as an artifact: `model.keras`, `model.json`, `history.csv`."""

import math
import time
from pathlib import Path

import keras
import numpy as np

from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.errors import TrainingError
from components.shared.files import folder_made_whole
from components.shared.progress import Progress
from components.shared.slices import read_info
from components.train.backbones import build_backbone
from components.train.input_pipeline import held_out_batches, readable_shards, steps_per_epoch, training_batches
from components.train.recipe import Recipe

MODEL_FILE, CARD_FILE, HISTORY_FILE = "model.keras", "model.json", "history.csv"


class EpochProgress(keras.callbacks.Callback):
    """Reports each epoch with the time left."""

    def __init__(self, backbone: str, epochs: int) -> None:
        super().__init__()
        self.progress = Progress(f"train {backbone}", epochs, "epochs")
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints the validation accuracy and the time left."""
        left = (time.monotonic() - self.began) / (epoch + 1) * (self.progress.total - epoch - 1)
        accuracy = (logs or {}).get("val_accuracy", float("nan"))
        self.progress.advance(remark=f"validation accuracy {accuracy:.3f}, {left:.0f} s left")


def train_backbone(slices: Path, backbone: str, recipe: Recipe, seed: int, folder: Path) -> BackboneCard:
    """Trains a backbone on the train split, keeping the epoch with the lowest validation loss.

    Args:
        slices: a data set of segmented slices.
        backbone: a key of `components.train.backbones.BACKBONES`.
        recipe: how to train.
        seed: of initial weights, order and augmentation.
        folder: becomes the artifact.

    Returns:
        The card that was written.

    Raises:
        BadConfigError: no such backbone.
        TrainingError: a species has no training slices, or the loss is not a number any more.
    """
    began = time.monotonic()
    info = read_info(slices)
    training_slices = _count_training_slices(info)
    keras.utils.set_random_seed(seed)
    model = build_backbone(backbone, info.image_size, info.channels, len(info.classes))
    shape = (info.image_size, info.channels, len(info.classes))
    history = _fit(model, slices, shape, training_slices, recipe, seed)
    best = min(history, key=lambda epoch: epoch["val_loss"])
    card = BackboneCard(
        backbone=backbone,
        parameters=model.count_params(),
        image_size=info.image_size,
        channels=info.channels,
        classes=info.classes,
        recipe=recipe.model_dump(),
        history=tuple(history),
        metrics={"accuracy": best["val_accuracy"], "loss": best["val_loss"], "epochs": float(len(history))},
        data_hash=info.sources_hash,
        seconds=time.monotonic() - began,
    )
    _write_artifact(folder, model, card)
    return card


def _count_training_slices(info: SlicesInfo) -> int:
    counts = {count.species: count.slices for count in info.counts if count.split == "train"}
    missing = [species for species in info.classes if not counts.get(species)]
    if missing:
        raise TrainingError(
            f"no training slices of {', '.join(missing)}", "some of every species", "Add specimens of these species."
        )
    return sum(counts.values())


def _fit(
    model: keras.Model, folder: Path, shape: tuple[int, int, int], slices: int, recipe: Recipe, seed: int
) -> list[dict[str, float]]:
    """Fits the model in place to its best epoch and returns the metrics of each epoch."""
    steps = steps_per_epoch(slices, recipe)
    model.compile(
        optimizer=_optimizer(recipe, steps),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing),
        metrics=["accuracy"],
    )
    with readable_shards(folder):
        fitted = model.fit(
            training_batches(folder, *shape, slices, recipe, seed),
            validation_data=held_out_batches(
                folder, "validation", *shape, recipe.batch_size * 4, recipe.cache_gigabytes
            ),
            epochs=recipe.epochs,
            steps_per_epoch=steps,
            shuffle=False,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
                keras.callbacks.EarlyStopping("val_loss", patience=recipe.patience, restore_best_weights=True),
                EpochProgress(model.name, recipe.epochs),
            ],
            verbose=0,
        )
    epochs = range(len(fitted.history["loss"]))
    history = [{name: float(values[epoch]) for name, values in fitted.history.items()} for epoch in epochs]
    if not history or not all(math.isfinite(value) for epoch in history for value in epoch.values()):
        raise TrainingError(f"the loss of {model.name} is not a number any more", remedy="Lower the learning_rate.")
    return history


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    warmup = math.ceil(recipe.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / 100,
        decay_steps=max(1, recipe.epochs * steps - warmup),
        alpha=0.01,
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(
        schedule, weight_decay=recipe.weight_decay, clipnorm=1.0, use_ema=True, ema_momentum=recipe.ema_momentum
    )


def _write_artifact(folder: Path, model: keras.Model, card: BackboneCard) -> None:
    columns = list(card.history[0])
    rows = np.array([[epoch[column] for column in columns] for epoch in card.history])
    with folder_made_whole(folder) as unfinished:
        model.save(unfinished / MODEL_FILE)
        np.savetxt(unfinished / HISTORY_FILE, rows, delimiter=",", header=",".join(columns), comments="", fmt="%.6g")
        card.write(unfinished / CARD_FILE)
