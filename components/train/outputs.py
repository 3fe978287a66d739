"""What a training leaves to look at beside its model."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from components.shared.contracts import BackboneCard
from components.shared.files import write_atomically
from components.train.checkpoints import LOGS
from components.train.curves import curves_page
from components.train.recipe import Recipe
from components.train.views import views_page


def leave_pages(card: BackboneCard, recipe: Recipe, slices: Path, seed: int, curves: Path, views: Path) -> None:
    """Writes the learning curves and what the network got after augmentation."""
    write_atomically(curves, curves_page(card).encode())
    write_atomically(views, views_page(slices, recipe, card.image_size, seed).encode())


def move_logs(model: Path, logs: Path) -> None:
    """Moves TensorBoard's logs out of the model's folder into one that TensorBoard is pointed at."""
    if (model / LOGS).is_dir():
        shutil.move(model / LOGS, logs)
    else:
        logs.mkdir(parents=True, exist_ok=True)


def numbers_of_epochs(card: BackboneCard) -> Iterator[tuple[str, float]]:
    """Yields the validation figures of each epoch under names that sort: `epoch 01 val_accuracy`."""
    for number, row in enumerate(card.history, start=1):
        for name in ("val_accuracy", "val_loss"):
            yield f"epoch {number:02} {name}", row[name]
