"""The artifact of a trained backbone: `model.keras`, `model.json`, `history.csv`, `tensorboard/`."""

from pathlib import Path

import keras
import numpy as np

from components.shared.contracts import BackboneCard
from components.shared.files import atomic_folder, copy_folder
from components.train.checkpoints import LOGS

MODEL_FILE, CARD_FILE, HISTORY_FILE = "model.keras", "model.json", "history.csv"


def write_artifact(folder: Path, model: keras.Model, card: BackboneCard, logs: Path) -> None:
    """Write a trained network, its card and its history; the folder is replaced only if this succeeds.

    Args:
        folder: Folder of the artifact.
        model: Trained network.
        card: Card of the network.
        logs: Folder of TensorBoard's logs, which need not exist.
    """
    columns = list(card.history[0])
    rows = np.array([[epoch[column] for column in columns] for epoch in card.history])
    with atomic_folder(folder) as new_folder:
        model.save(new_folder / MODEL_FILE)
        np.savetxt(new_folder / HISTORY_FILE, rows, delimiter=",", header=",".join(columns), comments="", fmt="%.6g")
        if logs.is_dir():
            copy_folder(logs, new_folder / LOGS)
        card.write(new_folder / CARD_FILE)
