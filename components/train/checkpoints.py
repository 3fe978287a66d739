"""Where a training that was interrupted goes on: the state after each epoch, whole or not there.

Keras's BackupAndRestore writes weights and epoch number one after the other and over the old ones, so that a kill in
between leaves a pair that does not belong together, and it forgets what early stopping has seen. Here a folder appears
by one rename, after everything in it is written:

    <checkpoints>/<key of the inputs>/epoch-00007/   state.json, running.weights.h5 (weights, optimizer, its average)
                                      best-00005.npz the weights to be kept so far
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

from components.shared.contracts import Document
from components.shared.errors import ContractError
from components.shared.files import atomic_folder

STATE_FILE, RUNNING_FILE, LOGS = "state.json", "running.weights.h5", "tensorboard"


class TrainingState(Document):
    """What is known after an epoch, beside the weights.

    Attributes:
        phase: 1 or 2.
        phase_began: epochs done before this phase.
        epoch: epochs done over all phases.
        history: a row of metrics for each of them.
        best_epoch: number of the epoch whose weights are kept, from 0.
        best: its validation figure.
        wait: epochs since then.
        plateau_best: best figure that the learning rate's schedule has seen in this phase.
        plateau_wait: epochs since then.
        stopped: whether early stopping has ended the phase.
        seconds: spent on all epochs.
    """

    SCHEMA = "taxonflow.checkpoint/1"

    phase: int = 1
    phase_began: int = 0
    epoch: int = 0
    history: tuple[dict[str, float], ...] = ()
    best_epoch: int | None = None
    best: float | None = None
    wait: int = 0
    plateau_best: float | None = None
    plateau_wait: int = 0
    stopped: bool = False
    seconds: float = 0.0


def key_of(inputs: dict[str, Any]) -> str:
    """Returns 16 hexadecimal digits that stand for the inputs of a training; other inputs never meet its state."""
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


class CheckpointStore:
    """The states of one training.

    Args:
        folder: of this training alone; made when the first state is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def logs(self) -> Path:
        """Returns where TensorBoard's logs are."""
        return self.folder / LOGS

    def newest(self) -> TrainingState | None:
        """Reads the newest whole state; None where there is none that can be used."""
        for epoch in reversed(self._epochs()):
            try:
                return TrainingState.read(epoch / STATE_FILE)
            except ContractError:
                continue
        return None

    def keep(self, state: TrainingState, model: keras.Model) -> None:
        """Writes the state after an epoch, then removes the older ones.

        A kept best is written first, so that every whole state finds the best that it names.
        """
        newest = self._epoch(state.epoch)
        with atomic_folder(newest) as unfinished:
            model.save_weights(unfinished / RUNNING_FILE)
            state.write(unfinished / STATE_FILE)
        for older in self._epochs():
            if older != newest:
                shutil.rmtree(older)
        for best in self.folder.glob("best-*.npz"):
            if best != self._best(state.best_epoch):
                best.unlink()

    def keep_best(self, epoch: int, weights: list[NDArray[np.float32]]) -> None:
        """Writes the weights of the best epoch so far."""
        self.folder.mkdir(parents=True, exist_ok=True)
        unfinished = self.folder / ".best.npz"
        np.savez(unfinished, *weights)
        unfinished.replace(self._best(epoch))

    def load_running(self, state: TrainingState, model: keras.Model) -> None:
        """Puts weights, optimizer and moving average of a state into a compiled model."""
        model.optimizer.build(model.trainable_variables)
        model.load_weights(self._epoch(state.epoch) / RUNNING_FILE)

    def load_best(self, state: TrainingState) -> list[NDArray[np.float32]] | None:
        """Reads the weights of a state's best epoch; None before the first epoch."""
        if state.best_epoch is None:
            return None
        with np.load(self._best(state.best_epoch), allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]

    def remove(self) -> None:
        """Forgets the training, whose artifact is written."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # states of other trainings are there
            self.folder.parent.rmdir()

    def _epochs(self) -> list[Path]:
        return sorted(self.folder.glob("epoch-*"))

    def _epoch(self, number: int) -> Path:
        return self.folder / f"epoch-{number:05d}"

    def _best(self, epoch: int | None) -> Path:
        return self.folder / f"best-{epoch or 0:05d}.npz"
