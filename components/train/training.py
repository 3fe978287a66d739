"""Training of one backbone."""

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from components.shared.contracts import BackboneCard
from components.shared.errors import TrainingError
from components.shared.slices import read_info
from components.train.artifact import write_artifact
from components.train.backbones.build import build_backbone, parts_of_embedding
from components.train.backbones.registry import InputSpec, find_backbone
from components.train.callbacks import CheckpointCallback, EpochProgress, EpochSeed, ResumableAverage
from components.train.checkpoints import CheckpointStore, TrainingState
from components.train.input_pipeline import (
    epoch_size_of,
    reading_slices,
    steps_per_epoch,
    validation_batch_size,
)
from components.train.inputs import Training
from components.train.optimization import (
    Phase,
    build_loss,
    build_optimizer,
    dividing_devices,
    dtype_policy,
    freeze,
    list_gpus,
    strategy_for,
    training_phases,
    unfrozen_layers,
)
from components.train.probe.head import HeadData, PenalizedHead
from components.train.probe.probe import Probe
from components.train.recipe import LBFGS, Recipe, check_seed
from components.train.weights import load_pretrained

FEATURES = "features"


@dataclass(frozen=True)
class Fit:
    """The fitting of a network in its phases.

    Attributes:
        network: Network with its initial weights, changed in place.
        training: Inputs of the training.
        store: Checkpoints.
        probe: Cached features, or None if features are computed in every epoch.
    """

    network: keras.Model
    training: Training
    store: CheckpointStore
    probe: Probe | None

    @cached_property
    def phases(self) -> tuple[Phase, ...]:
        """Return the phases of the recipe."""
        return training_phases(self.training.recipe, self.training.backbone)

    @property
    def trained(self) -> keras.Model:
        """Model with all weights that any phase trains."""
        return self.model(self.phases[-1])

    def model(self, phase: Phase) -> keras.Model:
        """Return the model that a phase fits: the network, or its part after the cached features."""
        tail = self.probe.division.tails.get(phase.number) if self.probe else None
        return tail.model if tail else self.network

    def batches(self, phase: Phase, first_epoch: int) -> tuple[tf.data.Dataset, tf.data.Dataset]:
        """Return the batches of a phase for training and validation."""
        training, devices = self.training, self.network.distribute_strategy.num_replicas_in_sync
        size = validation_batch_size(training.info.slices("validation"), training.recipe, devices)
        if self.probe and phase.number in self.probe.division.tails:
            return self.probe.batches(phase, first_epoch, size)
        return training.batches(first_epoch), training.validation_batches(size)

    def recipe(self, phase: Phase) -> Recipe:
        """Return the recipe of a phase; heads that a solver sets are not averaged, and all of them are fitted."""
        update = {"ema_momentum": 0.0, "patience": phase.epochs} if self.solves(phase) else {}
        return self.training.recipe.model_copy(update=update)

    def solves(self, phase: Phase) -> bool:
        """Return whether a phase sets the head to an optimum in each epoch, without gradient steps."""
        return phase.number == 1 and self.training.recipe.probe_solver == LBFGS

    def solvers(self, phase: Phase, first_epoch: int) -> list[keras.callbacks.Callback]:
        """Return the callback that sets the head in a phase that is solved, in a list; otherwise an empty list."""
        if self.probe is None or not self.solves(phase):
            return []
        training, classes = self.training, self.training.spec.classes
        weights = training.class_weights or dict.fromkeys(range(classes), 1.0)
        class_weights = np.array([weights[label] for label in range(classes)], np.float32)
        table, parts = self.probe.training_embeddings(), parts_of_embedding(self.network)
        data = HeadData(table, classes, training.recipe.label_smoothing, class_weights, parts)
        return [PenalizedHead(data, first_epoch)]


def train_backbone(
    slices: Path,
    backbone: str,
    recipe: Recipe,
    seed: int,
    folder: Path,
    checkpoints: Path | None = None,
    features: Path | None = None,
) -> BackboneCard:
    """Train a backbone on the train split and save the weights of the epoch with the best validation metric.

    An interrupted training with the same inputs is resumed after its last complete epoch.

    Args:
        slices: Folder of a data set of segmented slices.
        backbone: Key of `components.train.backbones.registry.BACKBONES`.
        recipe: Settings of the training.
        seed: Seed of initial weights, order and augmentation, 0 to LARGEST_SEED. The views of cached features are
            drawn with the data set's seed instead.
        folder: Folder of the artifact.
        checkpoints: Folder for checkpoints of unfinished trainings, each in a subfolder; beside `folder` by default.
        features: Folder in which cached features are kept for further trainings, for example on other splits of the
            same slices; by default they are removed with the checkpoints. Without effect if `probe_views` is 0.

    Returns:
        The card that is written into the artifact.

    Raises:
        BadConfigError: The backbone or the seed is invalid, or the initial weights cannot be used.
        TrainingError: A species has no training slices, there are no validation slices, the weights cannot be
            downloaded, or the loss is not finite.
    """
    training = _prepare(slices, backbone, recipe, seed)
    keras.utils.set_random_seed(seed)
    batch = epoch_size_of(sum(training.counts), recipe).batch
    with strategy_for(dividing_devices(list_gpus(), batch, training.info.slices("validation"))).scope():
        model = _build(training, recipe.precision)
        weights_sha256 = load_pretrained(model, recipe.weights)
    store = CheckpointStore(
        (checkpoints or folder.with_name(f"{folder.name}.checkpoints")) / training.key(weights_sha256)
    )
    probe = _probe(model, training, features or store.folder / FEATURES) if recipe.probe_views else None
    state = _fit(Fit(model, training, store, probe))
    card = _create_card(training, state, model.count_params(), weights_sha256)
    write_artifact(folder, _convert_to_float32(model, training), card, store.logs)
    store.remove()
    return card


def _prepare(slices: Path, backbone: str, recipe: Recipe, seed: int) -> Training:
    """Read the description of the data set, and check that every species has training slices.

    Raises:
        TrainingError: A species has no training slices, or there are no validation slices.
    """
    info, native = read_info(slices), find_backbone(backbone).native_size
    sizes = {"slices": info.image_size, "native": native}
    image_size = recipe.image_size if isinstance(recipe.image_size, int) else sizes[recipe.image_size]
    spec = InputSpec(image_size, info.channels, len(info.classes))
    training = Training(slices, info, backbone, recipe, check_seed(seed), spec)
    missing_species = [species for species, count in zip(info.classes, training.counts, strict=True) if not count]
    if missing_species:
        raise TrainingError(
            f"no training slices of {', '.join(missing_species)}",
            "slices of every species",
            "Add specimens of these species.",
        )
    if not info.slices("validation"):
        raise TrainingError(
            "no validation slices",
            "some, to select the best epoch",
            "Provide three or more specimens of each species.",
        )
    return training


def _build(training: Training, precision: str) -> keras.Model:
    with dtype_policy(precision):
        return build_backbone(training.backbone, training.spec)


def _probe(model: keras.Model, training: Training, folder: Path) -> Probe:
    recipe = training.recipe
    unfreeze = unfrozen_layers(recipe, training.backbone)
    return Probe(model, unfreeze, training.slices, training.spec, recipe, training.seed, folder)


def _fit(fit: Fit) -> TrainingState:
    """Fit the network from the latest checkpoint if there is one, and set the weights of the best epoch."""
    state = fit.store.latest() or TrainingState()
    for phase in fit.phases:
        if phase.number > state.phase or not state.epoch:
            initial = {"phase": phase.number, "phase_start": state.epoch, "wait": 0, "is_stopped": False}
            state = state.model_copy(update={**initial, "plateau_best": None, "plateau_wait": 0})
        if phase.number == state.phase and not _is_finished(state, phase):
            state = _fit_phase(fit, phase, state)
    best_weights = fit.store.load_best(state)
    assert best_weights is not None  # every phase has at least one epoch
    fit.trained.set_weights(best_weights)
    return state


def _is_finished(state: TrainingState, phase: Phase) -> bool:
    return state.is_stopped or state.epoch - state.phase_start >= phase.epochs


def _fit_phase(fit: Fit, phase: Phase, state: TrainingState) -> TrainingState:
    """Fit the network from the best weights so far, or resume after the epochs of this phase that are done.

    Raises:
        TrainingError: The loss is not finite, or a shard is damaged.
    """
    training, store, model = fit.training, fit.store, fit.model(phase)
    recipe, steps = fit.recipe(phase), steps_per_epoch(sum(training.counts), training.recipe)
    is_resumed = state.epoch > state.phase_start
    checkpoint = _build_checkpoint(fit, phase, state)  # its time includes that of cached features
    batches, validation = fit.batches(phase, state.epoch)
    best_weights = store.load_best(state)
    if best_weights is not None:
        fit.trained.set_weights(best_weights)
    with model.distribute_strategy.scope():
        freeze(fit.network, phase)
        optimizer = build_optimizer(recipe, phase, steps)
        model.compile(optimizer, build_loss(recipe), metrics=["accuracy"], jit_compile=recipe.xla)
        if is_resumed:
            store.restore(state, model)
    with reading_slices(training.slices):
        model.fit(
            batches,
            validation_data=validation,
            initial_epoch=state.epoch,
            epochs=state.phase_start + phase.epochs,
            steps_per_epoch=steps,
            shuffle=False,
            class_weight=training.class_weights,
            callbacks=[*fit.solvers(phase, state.phase_start), *_callbacks(fit, phase, checkpoint, is_resumed)],
            verbose=0,
        )
    if not all(math.isfinite(value) for row in checkpoint.state.history for value in row.values()):
        raise TrainingError(f"the loss of {fit.network.name} is not finite", remedy="Lower the recipe's learning_rate.")
    return checkpoint.state


def _build_checkpoint(fit: Fit, phase: Phase, state: TrainingState) -> CheckpointCallback:
    recipe = fit.recipe(phase)
    early_stopping = keras.callbacks.EarlyStopping(recipe.monitor, patience=recipe.patience)
    if recipe.schedule != "plateau":
        return CheckpointCallback(fit.store, state, fit.trained, early_stopping, None)
    plateau = keras.callbacks.ReduceLROnPlateau(
        recipe.monitor, recipe.plateau_factor, recipe.plateau_patience, min_lr=recipe.plateau_floor
    )
    return CheckpointCallback(fit.store, state, fit.trained, early_stopping, plateau)


def _callbacks(
    fit: Fit, phase: Phase, checkpoint: CheckpointCallback, is_resumed: bool
) -> list[keras.callbacks.Callback]:
    """Return the callbacks in their order: the moving average before, the checkpoint after all decisions."""
    epochs = sum(phase.epochs for phase in fit.phases)
    return [
        keras.callbacks.TerminateOnNaN(),
        EpochSeed(),
        *([ResumableAverage(starts_swapped=is_resumed)] if fit.recipe(phase).ema_momentum else []),
        checkpoint.early_stopping,
        *([checkpoint.plateau] if checkpoint.plateau else []),
        keras.callbacks.TensorBoard(checkpoint.store.logs, write_graph=False),
        checkpoint,
        EpochProgress(fit.training.backbone, epochs, checkpoint.state.epoch),
    ]


def _convert_to_float32(model: keras.Model, training: Training) -> keras.Model:
    """Return the network with the same weights, alone with its layers, that computes in float32."""
    if training.recipe.precision == "float32" and not training.recipe.probe_views:
        return model
    converted_model = _build(training, "float32")
    converted_model.set_weights(model.get_weights())
    return converted_model


def _create_card(training: Training, state: TrainingState, parameters: int, weights_sha256: str) -> BackboneCard:
    assert state.best_epoch is not None  # training has at least one epoch
    best = state.history[state.best_epoch]
    return BackboneCard(
        backbone=training.backbone,
        parameters=parameters,
        image_size=training.spec.image_size,
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
