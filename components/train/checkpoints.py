"""Checkpoints: the state of a training after each epoch, saved completely or not at all.

Keras's BackupAndRestore overwrites first the weights and then the epoch number, so that a kill between the two leaves
an inconsistent pair, and it does not save the state of early stopping. Here a checkpoint is a folder that appears by
one rename when all of its files are written:

    <checkpoints>/<key of the inputs>/epoch-00007/   state.json, running.weights.h5 (weights, optimizer, average)
                                      best-00005.npz weights of the best epoch so far
                                      tensorboard/   logs
"""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from components.shared.contracts.document import Document
from components.shared.errors import ContractError
from components.shared.files import atomic_folder

STATE_FILE, RUNNING_FILE, LOGS = "state.json", "running.weights.h5", "tensorboard"


class TrainingState(Document):
    """State of a training after an epoch, without the weights.

    Attributes:
        phase: Number of the phase, 1 or 2.
        phase_start: Epochs done before this phase.
        epoch: Epochs done over all phases.
        history: Metrics of each of these epochs.
        best_epoch: Number of the best epoch, from 0.
        best: Monitored metric of the best epoch.
        wait: Epochs since the best epoch.
        plateau_best: Best monitored metric that the learning rate's schedule has recorded in this phase.
        plateau_wait: Epochs since that metric.
        is_stopped: True if early stopping has ended the phase.
        seconds: Time spent on all epochs, and on cached features.
    """

    SCHEMA = "taxonflow.checkpoint/2"

    phase: int = 1
    phase_start: int = 0
    epoch: int = 0
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    best: float | None = None
    wait: int = 0
    plateau_best: float | None = None
    plateau_wait: int = 0
    is_stopped: bool = False
    seconds: float = 0.0


def checkpoint_key(inputs: dict[str, Any]) -> str:
    """Return 16 hexadecimal digits that identify the inputs of a training, so that only equal inputs resume it."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


class CheckpointStore:
    """The checkpoints of one training.

    Args:
        folder: Folder that only this training uses, created with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def logs(self) -> Path:
        """Folder of TensorBoard's logs."""
        return self.folder / LOGS

    def latest(self) -> TrainingState | None:
        """Read the latest complete state; None if there is none of this schema."""
        for epoch in reversed(self._epoch_folders()):
            try:
                return TrainingState.read(epoch / STATE_FILE)
            except ContractError:
                continue
        return None

    def save(self, state: TrainingState, model: keras.Model) -> None:
        """Write the state after an epoch, then remove the older ones.

        `save_best` writes the best weights first, so that a state never refers to missing weights.
        """
        latest = self._epoch_folder(state.epoch)
        with atomic_folder(latest) as new_folder:
            model.save_weights(new_folder / RUNNING_FILE)
            state.write(new_folder / STATE_FILE)
        for older in self._epoch_folders():
            if older != latest:
                shutil.rmtree(older)
        for best in self.folder.glob("best-*.npz"):
            if best != self._best_file(state.best_epoch):
                best.unlink()

    def save_best(self, epoch: int, weights: list[NDArray[np.float32]]) -> None:
        """Write the weights of the best epoch so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        new_file = self.folder / ".best.npz"
        np.savez(new_file, *weights)
        new_file.replace(self._best_file(epoch))

    def restore(self, state: TrainingState, model: keras.Model) -> None:
        """Load weights, optimizer and moving average of a state into a compiled model."""
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._epoch_folder(state.epoch) / RUNNING_FILE)

    def load_best(self, state: TrainingState) -> list[NDArray[np.float32]] | None:
        """Read the weights of a state's best epoch; None before the first epoch."""
        if state.best_epoch is None:
            return None
        with np.load(self._best_file(state.best_epoch), allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]

    def remove(self) -> None:
        """Remove the checkpoints of the finished training."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # the folder contains checkpoints of other trainings
            self.folder.parent.rmdir()

    def _epoch_folders(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"))

    def _epoch_folder(self, number: int) -> Path:
        return self.folder / f"epoch-{number:05d}"

    def _best_file(self, epoch: int | None) -> Path:
        return self.folder / f"best-{epoch or 0:05d}.npz"
