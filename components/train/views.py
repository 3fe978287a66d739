"""What the network really gets: a batch after augmentation, and views of one slice of each species, as a page."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from components.shared.pages import heading, page, paragraph, picture
from components.shared.slices import read_info
from components.train.augmentation import augment
from components.train.input_pipeline import held_out_batches, training_batches
from components.train.recipe import Recipe

VIEWS_OF_A_SLICE, SHOWN_OF_A_BATCH, TILE, READ = 6, 24, 96, 64


def views_page(folder: Path, recipe: Recipe, image_size: int, seed: int) -> str:
    """Draws what training feeds to the network.

    Args:
        folder: a data set of segmented slices.
        recipe: of the training.
        image_size: edge of the network's input in pixels.
        seed: of the training.

    Returns:
        A self-contained HTML page.
    """
    info = read_info(folder)
    parts = [
        heading("A batch"),
        paragraph("Every slice as the network sees it, with the shares of its label."),
        *_batch(folder, recipe, image_size, seed),
        heading("Views of one slice"),
        paragraph(f"The slice as it is served, then {VIEWS_OF_A_SLICE} views without mixing."),
    ]
    for label, served in sorted(_one_of_each_species(folder, image_size).items()):
        repeated = tf.repeat(served[None], VIEWS_OF_A_SLICE, axis=0)
        views = augment(repeated, tf.constant([seed, label], tf.int64), recipe).numpy()
        parts.append(picture(_strip([served, *views]), info.classes[label]))
    return page("What the network sees in training", parts)


def _batch(folder: Path, recipe: Recipe, image_size: int, seed: int) -> list[str]:
    """Returns figures of the slices of a batch, read from the shards so that nothing else has to fit into memory."""
    info = read_info(folder)
    read = recipe.model_copy(update={"cache_gigabytes": 0.0})
    batches = training_batches(folder, image_size, info.channels, len(info.classes), info.slices("train"), read, seed)
    images, labels = next(iter(batches.take(1)))
    return [
        picture(_strip([image]), _shares(share, info.classes))
        for image, share in zip(images.numpy()[:SHOWN_OF_A_BATCH], labels.numpy(), strict=False)
    ]


def _shares(label: npt.NDArray[np.float32], classes: Iterable[str]) -> str:
    named = sorted(zip(label.tolist(), classes, strict=True), reverse=True)
    return ", ".join(
        species if share > 0.995 else f"{share:.0%} {species}" for share, species in named if share > 0.005
    )


def _one_of_each_species(folder: Path, image_size: int) -> dict[int, npt.NDArray[np.uint8]]:
    """Returns the first validation slice of each label."""
    info, found = read_info(folder), dict[int, npt.NDArray[np.uint8]]()
    for images, labels in held_out_batches(folder, "validation", image_size, info.channels, len(info.classes), READ):
        for image, label in zip(images.numpy(), labels.numpy().argmax(axis=1).tolist(), strict=True):
            found.setdefault(label, image.astype(np.uint8))
        if len(found) == len(info.classes):
            break
    return found


def _strip(images: Iterable[npt.NDArray[np.generic]]) -> bytes:
    """Returns images of one size side by side as a PNG, each TILE pixels wide."""
    tiles = [tf.image.resize(image, [TILE, TILE], antialias=True) for image in images]
    strip = tf.concat([tf.pad(tile, [[0, 0], [0, 4], [0, 0]], constant_values=255) for tile in tiles], axis=1)
    return bytes(tf.io.encode_png(tf.cast(tf.clip_by_value(tf.round(strip), 0, 255), tf.uint8)).numpy())
