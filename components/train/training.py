"""Trains one backbone and leaves it as an artifact: `model.keras`, `model.json`, `history.csv`, `tensorboard/`."""

import hashlib
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components import __version__
from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.errors import TrainingError
from components.shared.files import atomic_folder
from components.shared.slices import INFO_FILE, read_info
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import find_backbone
from components.train.callbacks import EpochKeeper, EpochProgress, ResumedAverage, SeedOfEpoch
from components.train.checkpoints import LOGS, CheckpointStore, TrainingState, key_of
from components.train.input_pipeline import held_out_batches, readable_shards, steps_per_epoch, training_batches
from components.train.phases import Phase, freeze, phases_of
from components.train.recipe import Recipe, check_seed
from components.train.strategy import gpus, strategy_for
from components.train.weights import load_pretrained

MODEL_FILE, CARD_FILE, HISTORY_FILE = "model.keras", "model.json", "history.csv"


@dataclass(frozen=True)
class Training:
    """What one training works with.

    Attributes:
        slices: the data set's folder.
        info: its description.
        backbone: name of the network.
        recipe: how to train.
        seed: of initial weights, order and augmentation.
        image_size: edge of the network's input in pixels.
    """

    slices: Path
    info: SlicesInfo
    backbone: str
    recipe: Recipe
    seed: int
    image_size: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Returns edge in pixels, channels and classes."""
        return self.image_size, self.info.channels, len(self.info.classes)

    @property
    def counts(self) -> list[int]:
        """Returns the number of training slices of each class in the order of the labels."""
        found = {count.species: count.slices for count in self.info.counts if count.split == "train"}
        return [found.get(species, 0) for species in self.info.classes]

    @property
    def class_weights(self) -> dict[int, float] | None:
        """Returns the inverse of each class's share, so that all have the same sum of weights; None for equal ones."""
        if self.recipe.class_weights == "none":
            return None
        return {label: sum(self.counts) / (len(self.counts) * count) for label, count in enumerate(self.counts)}

    def key(self, weights_sha256: str) -> str:
        """Returns what stands for all inputs."""
        described = hashlib.sha256((self.slices / INFO_FILE).read_bytes()).hexdigest()
        inputs = {"slices": described, "backbone": self.backbone, "recipe": self.recipe.model_dump(), "seed": self.seed}
        return key_of({**inputs, "weights": weights_sha256, "versions": [__version__, keras.__version__]})


def train_backbone(
    slices: Path, backbone: str, recipe: Recipe, seed: int, folder: Path, checkpoints: Path | None = None
) -> BackboneCard:
    """Trains a backbone on the train split, keeping the epoch that validates best.

    A training with the same inputs that was interrupted goes on after its last whole epoch.

    Args:
        slices: a data set of segmented slices.
        backbone: a key of `components.train.backbones.registry.BACKBONES`.
        recipe: how to train.
        seed: of initial weights, order and augmentation, 0 to LARGEST_SEED.
        folder: becomes the artifact.
        checkpoints: keeps the state of unfinished trainings, each in a folder of its own; beside `folder` by default.

    Returns:
        The card that was written.

    Raises:
        BadConfigError: no such backbone or seed, or weights that it cannot begin with.
        TrainingError: a species has no training slices, none are there to validate on, the weights cannot be
            downloaded, or the loss is not a number any more.
    """
    training = _prepared(slices, backbone, recipe, seed)
    keras.utils.set_random_seed(seed)
    with strategy_for(gpus()).scope():
        model = _built(training, recipe.precision)
        weights_sha256 = load_pretrained(model, recipe.weights)
    store = CheckpointStore(
        (checkpoints or folder.with_name(f"{folder.name}.checkpoints")) / training.key(weights_sha256)
    )
    state = _fit(model, training, store)
    card = _card(training, state, model.count_params(), weights_sha256)
    _write_artifact(folder, _in_float32(model, training), card, store.logs)
    store.remove()
    return card


def _prepared(slices: Path, backbone: str, recipe: Recipe, seed: int) -> Training:
    """Reads what is to be trained on and checks that every species is there, and something to validate on."""
    info, native = read_info(slices), find_backbone(backbone).native_size
    sizes = {"slices": info.image_size, "native": native}
    image_size = recipe.image_size if isinstance(recipe.image_size, int) else sizes[recipe.image_size]
    training = Training(slices, info, backbone, recipe, check_seed(seed), image_size)
    missing = [species for species, count in zip(info.classes, training.counts, strict=True) if not count]
    if missing:
        raise TrainingError(
            f"no training slices of {', '.join(missing)}", "some of every species", "Add specimens of these species."
        )
    if not info.slices("validation"):
        raise TrainingError(
            "no validation slices",
            "some, to choose the best epoch by",
            "Add specimens, three or more of each species.",
        )
    return training


def _built(training: Training, precision: str) -> keras.Model:
    with _dtype_policy(precision):
        return build_backbone(training.backbone, *training.shape)


@contextmanager
def _dtype_policy(precision: str) -> Iterator[None]:
    """Sets Keras's policy for the layers built inside the block alone."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _fit(model: keras.Model, training: Training, store: CheckpointStore) -> TrainingState:
    """Fits the model in place to its best epoch, from where an interrupted run left off."""
    state = store.newest() or TrainingState()
    for phase in phases_of(training.recipe, training.backbone):
        if phase.number > state.phase or not state.epoch:
            fresh = {"phase": phase.number, "phase_began": state.epoch, "wait": 0, "stopped": False}
            state = state.model_copy(update={**fresh, "plateau_best": None, "plateau_wait": 0})
        if phase.number == state.phase and not _over(state, phase):
            state = _fit_phase(model, training, phase, store, state)
    kept = store.load_best(state)
    assert kept is not None  # every phase has at least one epoch
    model.set_weights(kept)
    return state


def _over(state: TrainingState, phase: Phase) -> bool:
    return state.stopped or state.epoch - state.phase_began >= phase.epochs


def _fit_phase(
    model: keras.Model, training: Training, phase: Phase, store: CheckpointStore, state: TrainingState
) -> TrainingState:
    """Fits the model from the best weights so far, or goes on after the epochs of this phase that are done."""
    recipe, slices = training.recipe, sum(training.counts)
    steps = steps_per_epoch(slices, recipe)
    resumed = state.epoch > state.phase_began
    best = store.load_best(state)
    if best is not None:
        model.set_weights(best)
    with model.distribute_strategy.scope():
        freeze(model, phase)
        model.compile(_optimizer(recipe, phase, steps), loss_of(recipe), metrics=["accuracy"], jit_compile=recipe.xla)
        if resumed:
            store.load_running(state, model)
    keeper = _keeper(recipe, store, state)
    with readable_shards(training.slices):
        model.fit(
            training_batches(training.slices, *training.shape, slices, recipe, training.seed, state.epoch),
            validation_data=_validation_batches(training),
            initial_epoch=state.epoch,
            epochs=state.phase_began + phase.epochs,
            steps_per_epoch=steps,
            shuffle=False,
            class_weight=training.class_weights,
            callbacks=_callbacks(training, keeper, resumed),
            verbose=0,
        )
    if not all(math.isfinite(value) for row in keeper.state.history for value in row.values()):
        raise TrainingError(f"the loss of {model.name} is not a number any more", remedy="Lower the learning_rate.")
    return keeper.state


def _validation_batches(training: Training) -> tf.data.Dataset:
    recipe = training.recipe
    return held_out_batches(
        training.slices, "validation", *training.shape, recipe.batch_size * 4, recipe.cache_gigabytes
    )


def _keeper(recipe: Recipe, store: CheckpointStore, state: TrainingState) -> EpochKeeper:
    stopping = keras.callbacks.EarlyStopping(recipe.monitor, patience=recipe.patience, restore_best_weights=True)
    if recipe.schedule != "plateau":
        return EpochKeeper(store, state, stopping, None)
    plateau = keras.callbacks.ReduceLROnPlateau(
        recipe.monitor, recipe.plateau_factor, recipe.plateau_patience, min_lr=recipe.plateau_floor
    )
    return EpochKeeper(store, state, stopping, plateau)


def _callbacks(training: Training, keeper: EpochKeeper, resumed: bool) -> list[keras.callbacks.Callback]:
    """Lists the callbacks in their order: the average is swapped in before, the state is kept after all decide."""
    epochs = sum(phase.epochs for phase in phases_of(training.recipe, training.backbone))
    return [
        keras.callbacks.TerminateOnNaN(),
        SeedOfEpoch(),
        *([ResumedAverage(swapped=resumed)] if training.recipe.ema_momentum else []),
        keeper.stopping,
        *([keeper.plateau] if keeper.plateau else []),
        keras.callbacks.TensorBoard(keeper.store.logs, write_graph=False),
        keeper,
        EpochProgress(training.backbone, epochs, keeper.state.epoch),
    ]


def _optimizer(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    return keras.optimizers.AdamW(
        _cosine(recipe, phase, steps) if recipe.schedule == "cosine" else phase.learning_rate,
        weight_decay=recipe.weight_decay,
        clipnorm=recipe.clip_norm or None,
        use_ema=recipe.ema_momentum > 0,
        ema_momentum=recipe.ema_momentum,
    )


def _cosine(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rises to the phase's rate over the warm-up, then falls to a hundredth."""
    warmup = math.ceil(recipe.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=phase.learning_rate / 100 if warmup else phase.learning_rate,
        decay_steps=max(1, phase.epochs * steps - warmup),
        alpha=0.01,
        warmup_target=phase.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def loss_of(recipe: Recipe) -> keras.losses.Loss:
    """Builds the loss: cross-entropy, or focal loss (Lin et al. 2017), on smoothed labels."""
    if recipe.focal_gamma == 0:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    return keras.losses.CategoricalFocalCrossentropy(
        alpha=1.0, gamma=recipe.focal_gamma, from_logits=True, label_smoothing=recipe.label_smoothing
    )


def _in_float32(model: keras.Model, training: Training) -> keras.Model:
    """Returns the network to be kept, which computes in float32 whatever it was trained in."""
    if training.recipe.precision == "float32":
        return model
    kept = _built(training, "float32")
    kept.set_weights(model.get_weights())
    return kept


def _card(training: Training, state: TrainingState, parameters: int, weights_sha256: str) -> BackboneCard:
    assert state.best_epoch is not None  # training has at least one epoch
    best = state.history[state.best_epoch]
    return BackboneCard(
        backbone=training.backbone,
        parameters=parameters,
        image_size=training.image_size,
        channels=training.info.channels,
        classes=training.info.classes,
        recipe=training.recipe.model_dump(),
        history=state.history,
        metrics={"accuracy": best["val_accuracy"], "loss": best["val_loss"], "epochs": float(state.epoch)},
        data_hash=training.info.sources_hash,
        seconds=state.seconds,
        frozen_epochs=sum(row["phase"] == 1 for row in state.history),
        weights_sha256=weights_sha256,
    )


def _write_artifact(folder: Path, model: keras.Model, card: BackboneCard, logs: Path) -> None:
    columns = list(card.history[0])
    rows = np.array([[epoch[column] for column in columns] for epoch in card.history])
    with atomic_folder(folder) as unfinished:
        model.save(unfinished / MODEL_FILE)
        np.savetxt(unfinished / HISTORY_FILE, rows, delimiter=",", header=",".join(columns), comments="", fmt="%.6g")
        if logs.is_dir():
            shutil.copytree(logs, unfinished / LOGS)
        card.write(unfinished / CARD_FILE)
