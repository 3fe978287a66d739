"""What happens at the end of each epoch beside what Keras does."""

import math
import time

import keras

from components.shared.progress import Progress
from components.train.checkpoints import CheckpointStore, TrainingState

RANDOM_NUMBERS_OF_AN_EPOCH = 2**20


class EpochProgress(keras.callbacks.Callback):
    """Reports each epoch with the time left.

    Args:
        backbone: its name.
        epochs: of all phases.
        done: of them, by the run that is resumed or by the phase before.
    """

    def __init__(self, backbone: str, epochs: int, done: int = 0) -> None:
        super().__init__()
        self.progress = Progress(f"train {backbone}", epochs, "epochs")
        self.progress.done = self.first = done
        self.began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prints the validation accuracy and the time left."""
        an_epoch = (time.monotonic() - self.began) / (epoch + 1 - self.first)
        left = an_epoch * (self.progress.total - epoch - 1)
        accuracy = (logs or {}).get("val_accuracy", float("nan"))
        still = f", {left:.0f} s left" if left else ""
        self.progress.advance(remark=f"validation accuracy {accuracy:.3f}{still}")


class SeedOfEpoch(keras.callbacks.Callback):
    """Lets dropout depend on the epoch's number, not on how many steps this process has made."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the counters of the layers' random numbers."""
        del logs
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign([keras.ops.convert_to_numpy(variable)[0], epoch * RANDOM_NUMBERS_OF_AN_EPOCH])


class ResumedAverage(keras.callbacks.SwapEMAWeights):
    """Swaps the moving average in for validation and for keeping, also in a model whose state was kept swapped.

    Args:
        swapped: whether the model begins with the average in place of its weights.
    """

    def __init__(self, swapped: bool) -> None:
        super().__init__(swap_on_epoch=True)
        self._ema_weights_in_model = swapped


class EpochKeeper(keras.callbacks.Callback):
    """Keeps the state after each epoch, and gives the other callbacks theirs back when training is resumed.

    It stands last among the callbacks, so that it sees what the others decided.

    Args:
        store: where states are kept.
        state: to begin with.
        stopping: the early stopping, which also holds the best weights.
        plateau: the learning rate's schedule, where it reacts to validation.
    """

    def __init__(
        self,
        store: CheckpointStore,
        state: TrainingState,
        stopping: keras.callbacks.EarlyStopping,
        plateau: keras.callbacks.ReduceLROnPlateau | None,
    ) -> None:
        super().__init__()
        self.store, self.state, self.stopping, self.plateau = store, state, stopping, plateau
        self.began = time.monotonic() - state.seconds

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Gives early stopping and the schedule what they had seen."""
        del logs
        if self.state.best is not None:
            self.stopping.best, self.stopping.best_epoch = self.state.best, self.state.best_epoch
            self.stopping.wait = self.state.wait
            self.stopping.best_weights = self.store.load_best(self.state)
        if self.plateau:
            self.plateau.best, self.plateau.wait = self.state.plateau_best, self.state.plateau_wait

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the state, unless the loss is not a number any more."""
        row = {name: float(value) for name, value in (logs or {}).items()}
        row |= {"learning_rate": float(self.model.optimizer.learning_rate), "phase": float(self.state.phase)}
        self.state = self._after(epoch, row)
        if not math.isfinite(sum(row.values())):
            return
        if self.state.best_epoch == epoch:
            self.store.keep_best(epoch, self.stopping.best_weights)
        self.store.keep(self.state, self.model)

    def _after(self, epoch: int, row: dict[str, float]) -> TrainingState:
        return self.state.model_copy(
            update={
                "epoch": epoch + 1,
                "history": (*self.state.history, row),
                "best_epoch": self.stopping.best_epoch,
                "best": float(self.stopping.best),
                "wait": self.stopping.wait,
                "plateau_best": None if not self.plateau or self.plateau.best is None else float(self.plateau.best),
                "plateau_wait": self.plateau.wait if self.plateau else 0,
                "stopped": bool(self.model.stop_training),
                "seconds": time.monotonic() - self.began,
            }
        )
