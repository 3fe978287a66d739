"""Effect of balanced class weights on a species with an eleventh of the slices of each other species.

The images are generated: disks, squares, triangles, and rare ellipses, which look like disks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.shared.contracts import SlicesInfo
from components.shared.images.decoding import encode_png
from tests.benchmarks.measurement import Measurement

EDGE = 24
CLASSES = ("disk", "ellipse", "square", "triangle")
MINORITY = CLASSES.index("ellipse")
IMBALANCE = 11
SLICES = {"train": 264, "validation": 132, "test": 440}
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Outcome:
    """Accuracy, and F1 of the minority, on the test split after one training."""

    accuracy: float
    minority_f1: float


def class_weights(scratch: Path) -> Iterator[Measurement]:
    """Compare trainings with and without class weights for each seed, on the same slices."""
    plain_outcomes, balanced_outcomes = [], []
    for seed in SEEDS:
        slices = write_shapes(scratch / f"shapes-{seed}", seed)
        plain_outcomes.append(train_and_test(slices, "none", seed, scratch))
        balanced_outcomes.append(train_and_test(slices, "balanced", seed, scratch))
    f1 = [
        float(np.mean([outcome.minority_f1 for outcome in outcomes]))
        for outcomes in (balanced_outcomes, plain_outcomes)
    ]
    accuracy = [
        float(np.mean([outcome.accuracy for outcome in outcomes])) for outcomes in (balanced_outcomes, plain_outcomes)
    ]
    yield Measurement("train-class-weights minority F1", f1[0], "F1", f1[1], f1[0] / f1[1], "rises by >= 0.15")
    yield Measurement(
        "train-class-weights accuracy", accuracy[0], "share", accuracy[1], accuracy[0] / accuracy[1], "falls by <= 0.02"
    )


def train_and_test(slices: Path, class_weights: str, seed: int, scratch: Path) -> Outcome:
    """Train cnn_small and measure it on the test split, which is as imbalanced as the training split."""
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    recipe = Recipe.parse({"epochs": 4, "class_weights": class_weights, "ema_momentum": 0.9, "zoom": 0.05})
    folder = scratch / f"model-{seed}-{class_weights}"
    train_backbone(slices, "cnn_small", recipe, seed, folder)
    return Outcome(*accuracy_and_f1(slices, folder, MINORITY))


def accuracy_and_f1(slices: Path, model: Path, label: int) -> tuple[float, float]:
    """Return the accuracy of a backbone on the test split, and its F1 for one class.

    Args:
        slices: Data set of slices.
        model: Folder of the trained backbone.
        label: Index of the class.
    """
    from components.evaluate.predictions import load_member, predict_split, read_split
    from components.shared.slices import read_info

    info = read_info(slices)
    truth = read_split(slices, info, "test").labels
    members = {"member": load_member(model, info)}
    predictions = predict_split(slices, "test", members, len(truth), model)["member"].logits.argmax(axis=1)
    return float((predictions == truth).mean()), f1_of(predictions == label, truth == label)


def f1_of(predictions: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the F1 score: the harmonic mean of precision and recall."""
    return float(2 * (predictions & truth).sum() / max(1, predictions.sum() + truth.sum()))


def write_shapes(folder: Path, seed: int) -> Path:
    """Write a data set in which the minority has an eleventh of the slices of each other class."""
    from components.shared.slices import Slice, SlicesWriter

    folder.mkdir()
    rng = np.random.default_rng(seed)
    with SlicesWriter(folder, CLASSES) as writer:
        for split, count in SLICES.items():
            for label in rng.permutation(labels_of(count)):
                writer.add(Slice(**_fields(split, int(label), rng)))
        info = SlicesInfo(
            classes=CLASSES,
            image_size=EDGE,
            channels=1,
            counts=writer.counts(),
            seed=seed,
            preprocessing={},
            sources_hash=f"shapes-{seed}",
        )
        writer.finish(info)
    return folder


def labels_of(count: int) -> NDArray[np.int64]:
    """Return `count` labels of each common class, and an eleventh of that number of the minority."""
    shares = [count // IMBALANCE if label == MINORITY else count for label in range(len(CLASSES))]
    return np.repeat(np.arange(len(CLASSES)), shares)


def _fields(split: str, label: int, rng: np.random.Generator) -> dict[str, Any]:
    name = f"{split}-{rng.integers(2**62)}"
    return {
        "id": name,
        "species": CLASSES[label],
        "specimen": name,
        "split": split,
        "plane": "drawn",
        "foreground_ratio": 0.3,
        "spacing_mm": 0.0,
        "descriptors": {},
        "png": encode_png(shape(CLASSES[label], rng)),
    }


def shape(name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 [EDGE, EDGE] with a shape of random size, position and angle, under noise."""
    rows, columns = np.mgrid[:EDGE, :EDGE] - (EDGE - 1) / 2 - rng.uniform(-2, 2, (2, 1, 1))
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(5, 8)
    x, y = columns * np.cos(angle) - rows * np.sin(angle), columns * np.sin(angle) + rows * np.cos(angle)
    inside = {
        "disk": np.hypot(x, y) < radius,
        "ellipse": np.hypot(x / 1.12, y * 1.12) < radius,
        "square": np.maximum(abs(x), abs(y)) < radius * 0.85,
        "triangle": np.maximum.reduce([-y, y / 2 + x * 0.87, y / 2 - x * 0.87]) < radius * 0.6,
    }[name]
    grey = np.where(inside, 130, 0) + rng.normal(0, 25, inside.shape) * inside
    return np.clip(grey, 0, 255).astype(np.uint8)


BENCHMARKS = {"train-class-weights": class_weights}
