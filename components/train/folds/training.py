"""Training on a data set with folds: the served model, and beside it a model for each fold.

Finished models are kept with the checkpoints until all are finished, so that an interrupted training does not train
them again.
"""

import hashlib
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from components import __version__
from components.shared.contracts import BackboneCard
from components.shared.contracts.fold_logits import FOLDS_FOLDER, FoldLogits, fold_file
from components.shared.errors import ContractError, TrainingError
from components.shared.files import atomic_folder, copy_folder
from components.shared.progress import Progress
from components.shared.slices import INFO_FILE, read_index, read_info
from components.train.artifact import CARD_FILE, MODEL_FILE
from components.train.backbones.registry import InputSpec
from components.train.checkpoints import checkpoint_key
from components.train.folds.dataset import write_fold
from components.train.input_pipeline import held_out_batches, reading_slices
from components.train.recipe import LARGEST_SEED, Recipe
from components.train.training import FEATURES, train_backbone

SERVED, BATCH = "served", 64


@dataclass(frozen=True)
class FoldsTraining:
    """The inputs of the trainings on one data set with folds.

    Attributes:
        slices: Folder of the data set.
        backbone: Name of the network.
        recipe: Settings of the trainings.
        seed: Seed of the served model.
        checkpoints: Folder for checkpoints.
    """

    slices: Path
    backbone: str
    recipe: Recipe
    seed: int
    checkpoints: Path

    @property
    def store(self) -> Path:
        """Folder of the finished models, which only trainings with the same inputs use."""
        description = hashlib.sha256((self.slices / INFO_FILE).read_bytes()).hexdigest()
        inputs = {"slices": description, "backbone": self.backbone, "recipe": self.recipe.model_dump()}
        versions = [__version__, keras.__version__]
        return self.checkpoints / f"folds-{checkpoint_key({**inputs, 'seed': self.seed, 'versions': versions})}"

    def train(self, slices: Path, seed: int, folder: Path) -> BackboneCard:
        """Train one model, resuming an interrupted training; all of them share their cached features."""
        features = self.store / FEATURES
        return train_backbone(slices, self.backbone, self.recipe, seed, folder, self.checkpoints, features)

    def is_finished(self, fold: int, classes: int) -> bool:
        """Return whether the logits of a fold are stored."""
        try:
            FoldLogits.read(fold_file(self.store, fold), classes)
        except ContractError:
            return False
        return True


def train_with_folds(
    slices: Path, backbone: str, recipe: Recipe, seed: int, folder: Path, checkpoints: Path | None = None
) -> BackboneCard:
    """Train a backbone as `train_backbone` does, and if the data set has folds, one more model for each of them.

    The artifact is that of the served model, which is trained on all specimens but those of the validation split. The
    logits of the fold models are in its folder `folds`.

    Args:
        slices: Folder of a data set of segmented slices.
        backbone: Key of `components.train.backbones.registry.BACKBONES`.
        recipe: Settings of the training.
        seed: Seed of the served model; those of the fold models are derived from it.
        folder: Folder of the artifact.
        checkpoints: Folder for checkpoints of unfinished trainings; beside `folder` by default.

    Returns:
        The card that is written into the artifact.

    Raises:
        BadConfigError: As in `train_backbone`.
        TrainingError: As in `train_backbone`, or the initial weights have changed since an interrupted training.
    """
    folds = read_info(slices).folds
    if not folds:
        return train_backbone(slices, backbone, recipe, seed, folder, checkpoints)
    root = checkpoints or folder.with_name(f"{folder.name}.checkpoints")
    training = FoldsTraining(slices, backbone, recipe, seed, root)
    card = _train_served(training).model_copy(update={"folds": folds})
    _train_folds(training, card)
    with atomic_folder(folder) as new_folder:
        new_folder.rmdir()
        copy_folder(training.store / SERVED, new_folder)
        copy_folder(training.store / FOLDS_FOLDER, new_folder / FOLDS_FOLDER)
        card.write(new_folder / CARD_FILE)
    shutil.rmtree(training.store, ignore_errors=True)
    with suppress(OSError):  # the folder contains checkpoints of other trainings
        root.rmdir()
    return card


def fold_seed(seed: int, fold: int) -> int:
    """Return the seed of the model of a fold."""
    digest = hashlib.sha256(f"fold {fold}\0{seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (LARGEST_SEED + 1)


def _train_served(training: FoldsTraining) -> BackboneCard:
    with suppress(ContractError):  # it is not trained yet
        return BackboneCard.read(training.store / SERVED / CARD_FILE)
    return training.train(training.slices, training.seed, training.store / SERVED)


def _train_folds(training: FoldsTraining, card: BackboneCard) -> None:
    """Train the models of all folds that are not finished."""
    missing_folds = [fold for fold in range(card.folds) if not training.is_finished(fold, len(card.classes))]
    progress = Progress(f"train {training.backbone} folds", card.folds, "folds")
    progress.done = card.folds - len(missing_folds)
    start = time.monotonic()
    for number, fold in enumerate(missing_folds, start=1):
        _train_fold(training, fold, card)
        remaining_s = (time.monotonic() - start) / number * (len(missing_folds) - number)
        progress.advance(remark=f"{remaining_s:.0f} s left" if remaining_s else "")


def _train_fold(training: FoldsTraining, fold: int, served_card: BackboneCard) -> None:
    """Train the model of a fold and store its logits.

    Raises:
        TrainingError: As in `train_backbone`, or the initial weights are not those of the served model.
    """
    file = fold_file(training.store, fold)
    with tempfile.TemporaryDirectory() as scratch:
        slices, model = Path(scratch) / "slices", Path(scratch) / "model"
        info = write_fold(training.slices, fold, slices)
        if not info.slices("test"):
            FoldLogits.empty(len(info.classes)).write(file)
            return
        card = training.train(slices, fold_seed(training.seed, fold), model)
        if card.weights_sha256 != served_card.weights_sha256:
            raise TrainingError(
                f"the initial weights of {training.backbone} have changed since the training began",
                "the same weights for all folds",
                f"Remove {training.store} and start again.",
            )
        _predict(slices, model, card).write(file)
    keras.utils.clear_session()


def _predict(slices: Path, model: Path, card: BackboneCard) -> FoldLogits:
    network = tf.function(keras.saving.load_model(model / MODEL_FILE, compile=False), reduce_retracing=True)
    spec = InputSpec(card.image_size, card.channels, len(card.classes))
    logits: dict[str, NDArray[np.float32]] = {}
    for split in ("validation", "test"):
        with reading_slices(slices):
            batches = held_out_batches(slices, split, spec, BATCH)
            logits[split] = np.concatenate([network(images, training=False).numpy() for images, _ in batches])
        if not np.isfinite(logits[split]).all():
            raise TrainingError(f"{card.backbone} returns NaN or infinity", remedy="Lower the recipe's learning_rate.")
    ids = {split: np.asarray(read_index(slices, split, ("id",))["id"], dtype=np.str_) for split in logits}
    return FoldLogits(ids["validation"], logits["validation"], ids["test"], logits["test"])
