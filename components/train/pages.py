"""Outputs of a training beside its model: learning curves, views of slices, TensorBoard's logs, metrics of epochs."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.shared.contracts import BackboneCard, SlicesInfo
from components.shared.files import write_atomically
from components.shared.pages import heading, line_chart, page, paragraph, picture, table
from components.shared.slices import read_info
from components.train.augmentation import augment
from components.train.backbones.registry import InputSpec
from components.train.checkpoints import LOGS
from components.train.input_pipeline import held_out_batches, training_batches
from components.train.recipe import Recipe

Image = npt.NDArray[np.generic]

_HISTORY_COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
VIEWS_PER_SLICE, BATCH_FIGURES, TILE, READ_BATCH = 6, 24, 96, 64
_MIN_SHARE, _FULL_SHARE = 0.005, 0.995


def write_pages(card: BackboneCard, recipe: Recipe, slices: Path, seed: int, curves: Path, views: Path) -> None:
    """Write the learning curves, and the slices as they are after augmentation.

    Args:
        card: Card of the trained backbone.
        recipe: Recipe of the training.
        slices: Folder of the data set.
        seed: Seed of the training.
        curves: File for the learning curves.
        views: File for the augmented slices.
    """
    write_atomically(curves, curves_page(card).encode())
    write_atomically(views, views_page(slices, recipe, card.image_size, seed).encode())


def move_logs(model: Path, logs: Path) -> None:
    """Move TensorBoard's logs from the model's folder to a folder of their own."""
    if (model / LOGS).is_dir():
        shutil.move(model / LOGS, logs)
    else:
        logs.mkdir(parents=True, exist_ok=True)


def epoch_metrics(card: BackboneCard) -> Iterator[tuple[str, float]]:
    """Yield the validation metrics of each epoch under names that sort: `epoch 01 val_accuracy`."""
    for number, row in enumerate(card.history, start=1):
        for name in ("val_accuracy", "val_loss"):
            yield f"epoch {number:02} {name}", row[name]


def curves_page(card: BackboneCard) -> str:
    """Draw accuracy and loss over the epochs, for training and validation, with the boundary of the phases.

    Args:
        card: Card of a trained backbone.

    Returns:
        A self-contained HTML page.
    """
    boundary = phase_boundary(card.history)
    charts = [
        line_chart(
            title,
            {
                "training": [row[key] for row in card.history],
                "validation": [row[f"val_{key}"] for row in card.history],
            },
            boundary,
        )
        for key, title in (("accuracy", "Accuracy by epoch"), ("loss", "Loss by epoch"))
    ]
    if "learning_rate" in card.history[0]:
        rates = {"learning rate": [row["learning_rate"] for row in card.history]}
        charts.append(line_chart("Learning rate at the end of the epoch", rates, boundary))
    return page(
        f"Training of {card.backbone}",
        [*charts, *_boundary_note(boundary), *_folds_note(card), *_epochs_table(card), *_settings_table(card)],
    )


def phase_boundary(history: Sequence[dict[str, float]]) -> int | None:
    """Return the number of epochs of the first phase, or None if there is only one phase."""
    phases = [row.get("phase", 1.0) for row in history]
    first = phases.count(phases[0])
    return first if first < len(phases) else None


def _boundary_note(boundary: int | None) -> list[str]:
    if boundary is None:
        return []
    return [paragraph(f"The backbone was frozen up to epoch {boundary}, left of the dashed line.")]


def _folds_note(card: BackboneCard) -> list[str]:
    if not card.folds:
        return []
    return [paragraph(f"Beside this model, {card.folds} were trained by the same recipe, one without each fold.")]


def _epochs_table(card: BackboneCard) -> list[str]:
    columns = [name for name in ("phase", *_HISTORY_COLUMNS) if name in card.history[0]]
    rows = [[number, *(row[name] for name in columns)] for number, row in enumerate(card.history, start=1)]
    return [heading("Epochs"), table(["epoch", *columns], rows)]


def _settings_table(card: BackboneCard) -> list[str]:
    recipe = [(key, str(value)) for key, value in card.recipe.items()]
    network = [("parameters", card.parameters), ("input", f"{card.image_size} px"), ("time", f"{card.seconds:.0f} s")]
    return [heading("Network and recipe"), table(("", ""), [*network, *recipe])]


def views_page(folder: Path, recipe: Recipe, image_size: int, seed: int) -> str:
    """Draw an augmented batch, and augmented views of one slice of each species.

    Args:
        folder: Data set of segmented slices.
        recipe: Recipe of the training.
        image_size: Edge of the network's input in pixels.
        seed: Seed of the training.

    Returns:
        A self-contained HTML page.
    """
    info = read_info(folder)
    spec = InputSpec(image_size, info.channels, len(info.classes))
    parts = [
        heading("A batch"),
        paragraph("Slices as the network receives them, with the shares of their labels."),
        *_batch_figures(folder, info, spec, recipe, seed),
        heading("Views of one slice"),
        paragraph(f"The slice without augmentation, then {VIEWS_PER_SLICE} augmented views, without mixing."),
    ]
    for label, original in sorted(_slice_of_each_species(folder, info, spec).items()):
        copies = tf.repeat(original[None], VIEWS_PER_SLICE, axis=0)
        views = augment(copies, tf.constant([seed, label], tf.int64), recipe).numpy()
        parts.append(picture(_strip([original, *views]), info.classes[label]))
    return page("Input of the network in training", parts)


def _batch_figures(folder: Path, info: SlicesInfo, spec: InputSpec, recipe: Recipe, seed: int) -> list[str]:
    """Return figures of the slices of a batch, which are read from the shards to need little memory."""
    disk_recipe = recipe.model_copy(update={"cache_gigabytes": 0.0})
    batches = training_batches(folder, spec, info.slices("train"), disk_recipe, seed)
    images, labels = next(iter(batches.take(1)))
    return [
        picture(_strip([image]), _describe_label(label, info.classes))
        for image, label in zip(images.numpy()[:BATCH_FIGURES], labels.numpy(), strict=False)
    ]


def _describe_label(label: npt.NDArray[np.float32], classes: Iterable[str]) -> str:
    shares = sorted(zip(label.tolist(), classes, strict=True), reverse=True)
    return ", ".join(
        species if share > _FULL_SHARE else f"{share:.0%} {species}" for share, species in shares if share > _MIN_SHARE
    )


def _slice_of_each_species(folder: Path, info: SlicesInfo, spec: InputSpec) -> dict[int, npt.NDArray[np.uint8]]:
    """Return the first validation slice of each label."""
    examples = dict[int, npt.NDArray[np.uint8]]()
    for images, labels in held_out_batches(folder, "validation", spec, READ_BATCH):
        for image, label in zip(images.numpy(), labels.numpy().argmax(axis=1).tolist(), strict=True):
            examples.setdefault(label, image.astype(np.uint8))
        if len(examples) == len(info.classes):
            break
    return examples


def _strip(images: Iterable[Image]) -> bytes:
    """Return images of one size side by side as a PNG, each TILE pixels wide."""
    tiles = [tf.image.resize(image, [TILE, TILE], antialias=True) for image in images]
    strip = tf.concat([tf.pad(tile, [[0, 0], [0, 4], [0, 0]], constant_values=255) for tile in tiles], axis=1)
    return bytes(tf.io.encode_png(tf.cast(tf.clip_by_value(tf.round(strip), 0, 255), tf.uint8)).numpy())
