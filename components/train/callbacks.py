"""Keras callbacks: progress, seeds, moving average and checkpoints of each epoch."""

import math
import time

import keras

from components.shared.progress import Progress
from components.train.checkpoints import CheckpointStore, TrainingState

RANDOM_NUMBERS_PER_EPOCH = 2**20


class EpochProgress(keras.callbacks.Callback):
    """Progress lines for each epoch, with the remaining time.

    Args:
        backbone: Name of the backbone.
        epochs: Number of epochs of all phases.
        epochs_done: Number of epochs done by a resumed run or by the previous phase.
    """

    def __init__(self, backbone: str, epochs: int, epochs_done: int = 0) -> None:
        super().__init__()
        self.progress = Progress(f"train {backbone}", epochs, "epochs")
        self.progress.done = self.first = epochs_done
        self.start = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Print the validation accuracy and the remaining time."""
        epoch_s = (time.monotonic() - self.start) / (epoch + 1 - self.first)
        remaining_s = epoch_s * (self.progress.total - epoch - 1)
        accuracy = (logs or {}).get("val_accuracy", float("nan"))
        time_left = f", {remaining_s:.0f} s left" if remaining_s else ""
        self.progress.advance(remark=f"validation accuracy {accuracy:.3f}{time_left}")


class EpochSeed(keras.callbacks.Callback):
    """Seed of dropout for each epoch, which depends only on the epoch's number, so that a resumed run repeats it."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set the counters of the layers' random numbers."""
        del logs
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign([keras.ops.convert_to_numpy(variable)[0], epoch * RANDOM_NUMBERS_PER_EPOCH])


class ResumableAverage(keras.callbacks.SwapEMAWeights):
    """Swap of weights and moving average for validation and checkpoints; a resumed model may be swapped already.

    Args:
        starts_swapped: True if the model starts with the average in place of its weights.
    """

    def __init__(self, starts_swapped: bool) -> None:
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = starts_swapped


class CheckpointCallback(keras.callbacks.Callback):
    """Checkpoint after each epoch, from which a resumed training restores the state of the other callbacks.

    It must follow the callbacks whose decisions it saves.

    Args:
        store: Checkpoints of this training.
        state: State at the start.
        network: Model of which the best weights are saved; it contains the model that is fitted.
        early_stopping: Early stopping, which determines the best epoch.
        plateau: Learning rate schedule that depends on validation, or None.
    """

    def __init__(
        self,
        store: CheckpointStore,
        state: TrainingState,
        network: keras.Model,
        early_stopping: keras.callbacks.EarlyStopping,
        plateau: keras.callbacks.ReduceLROnPlateau | None,
    ) -> None:
        super().__init__()
        self.store, self.state, self.network = store, state, network
        self.early_stopping, self.plateau = early_stopping, plateau
        self.start = time.monotonic() - state.seconds

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the state of early stopping and of the schedule."""
        del logs
        if self.state.best is not None:
            self.early_stopping.best, self.early_stopping.best_epoch = self.state.best, self.state.best_epoch
            self.early_stopping.wait = self.state.wait
        if self.plateau:
            self.plateau.best, self.plateau.wait = self.state.plateau_best, self.state.plateau_wait

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Save the state, unless a metric is not finite."""
        row = {name: float(value) for name, value in (logs or {}).items()}
        row |= {"learning_rate": float(self.model.optimizer.learning_rate), "phase": float(self.state.phase)}
        self.state = self._next_state(epoch, row)
        if not math.isfinite(sum(row.values())):
            return
        if self.state.best_epoch == epoch:
            self.store.save_best(epoch, self.network.get_weights())
        self.store.save(self.state, self.model)

    def _next_state(self, epoch: int, row: dict[str, float]) -> TrainingState:
        return self.state.model_copy(
            update={
                "epoch": epoch + 1,
                "history": (*self.state.history, row),
                "best_epoch": self.early_stopping.best_epoch,
                "best": float(self.early_stopping.best),
                "wait": self.early_stopping.wait,
                "plateau_best": None if not self.plateau or self.plateau.best is None else float(self.plateau.best),
                "plateau_wait": self.plateau.wait if self.plateau else 0,
                "is_stopped": bool(self.model.stop_training),
                "seconds": time.monotonic() - self.start,
            }
        )
