"""Frozen features computed once for some views, compared with features computed in every epoch.

EfficientNet-Lite0 with packaged weights, the same first phase with the same number of epochs: on real photographs if
they are beside the repository (105 of 6 groups), and on slices of phantoms. Accuracy is that of the test split.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.measurement import Measurement, peak_resident_bytes, run_in_subprocess

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "real_organisms" / "phytoplankton"
BACKBONE, EPOCHS, VIEWS, SEEDS = "efficientnet_lite0", 80, 8, (0, 1)
PHOTOGRAPH_EDGE, PHANTOM_EDGE, PHANTOM_SLICES, TEST_SHARE = 224, 64, 60, 5
RECIPE: dict[str, Any] = {
    "weights": "packaged",
    "frozen_epochs": EPOCHS,
    "frozen_learning_rate": 3e-3,
    "epochs": 0,
    "patience": 1000,
    "class_weights": "balanced",
}
WIDE, WIDE_ROWS = 1280, 400_000


def probe(scratch: Path) -> Iterator[Measurement]:
    """Compare time and accuracy of both ways, and measure the memory of training on a file of features."""
    data_sets = {"phantoms": write_phantoms(scratch / "phantoms")}
    if PHOTOGRAPHS.is_dir():
        data_sets = {"photographs": write_photographs(scratch / "photographs"), **data_sets}
    for name, slices in data_sets.items():
        outcomes = {
            views: [run_in_subprocess(train_and_test, slices, views, seed, scratch / "out") for seed in SEEDS]
            for views in (VIEWS, 0)
        }
        (ours, our_accuracy), (theirs, their_accuracy) = (np.mean(values, axis=0) for values in outcomes.values())
        unit = f"s for {EPOCHS} epochs with {VIEWS} views, features included"
        yield Measurement(f"probe seconds, {name}", ours, unit, theirs, theirs / ours, ">= 5 times faster")
        bar = "at most 0.005 below"
        yield Measurement(f"probe accuracy, {name}", our_accuracy, "share", their_accuracy, bar=bar)
    growth = run_in_subprocess(growth_of_epoch, scratch)
    size = 2 * WIDE * WIDE_ROWS
    unit = "MiB for an epoch on features in a file, of the file"
    yield Measurement("probe memory", growth / 2**20, unit, size / 2**20, growth / size, "<= 0.1")


def train_and_test(slices: str, views: int, seed: int, out: str) -> tuple[float, float]:
    """Train the head with or without cached features; return the seconds of the phase and the accuracy."""
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    recipe = Recipe(**RECIPE, probe_views=views)
    card = train_backbone(Path(slices), BACKBONE, recipe, seed, Path(out) / "model")
    return card.seconds, accuracy(Path(slices), Path(out) / "model")


def accuracy(slices: Path, model: Path) -> float:
    """Return the share of correct test slices."""
    import keras

    from components.shared.slices import read_info
    from components.train.backbones.registry import InputSpec
    from components.train.input_pipeline import held_out_batches

    network, info = keras.saving.load_model(model / "model.keras", compile=False), read_info(slices)
    spec = InputSpec(info.image_size, info.channels, len(info.classes))
    correct = [
        network(images, training=False).numpy().argmax(axis=1) == labels.numpy().argmax(axis=1)
        for images, labels in held_out_batches(slices, "test", spec, 32)
    ]
    return float(np.concatenate(correct).mean())


def growth_of_epoch(scratch: str) -> int:
    """Return the growth of the peak memory in an epoch on features in a file, in bytes."""
    from components.shared.files.matrix import FileMatrix
    from components.train.probe.table import FeatureTable, training_features
    from components.train.recipe import Recipe

    file, part = Path(scratch) / "rows.f16", np.ones((WIDE_ROWS // 100, WIDE), np.float16)
    with file.open("wb") as output:
        for _ in range(100):
            output.write(part.tobytes())
    rows = np.arange(WIDE_ROWS).reshape(-1, VIEWS)
    matrix = FileMatrix(file, (WIDE_ROWS, WIDE), np.float16)
    table = FeatureTable(matrix, rows, np.zeros(len(rows), np.int64), (WIDE,))
    batches = iter(training_features(table, 4, Recipe(), 0))
    next(batches)
    baseline = peak_resident_bytes()
    for _ in range(len(rows) // Recipe().batch_size):
        next(batches)
    return peak_resident_bytes() - baseline


def write_photographs(folder: Path) -> Path:
    """Write the real photographs as a data set: of each group a fifth each for validation and test."""
    import cv2

    with (PHOTOGRAPHS / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    slices = []
    for row in sorted(rows, key=lambda row: row["path"]):
        image = cv2.imread(str(PHOTOGRAPHS / row["path"]))
        scale = PHOTOGRAPH_EDGE / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else None)
        slices.append((row["species"], bytes(cv2.imencode(".png", small)[1])))
    return write_slices(folder, slices, PHOTOGRAPH_EDGE, 3)


def write_phantoms(folder: Path) -> Path:
    """Write slices of synthetic specimens as a data set, split by specimen as in a run."""
    from components.ingest.config import IngestConfig
    from components.ingest.dataset import make_dataset
    from components.phantoms.generate import PhantomConfig, generate_phantoms
    from components.segment.dataset import segment_dataset

    config = PhantomConfig(specimens_per_species=10, unseen_per_species=0, size=64)
    generate_phantoms(folder / "volumes", config, 1)
    ingest = IngestConfig.checked(image_size=PHANTOM_EDGE, slices_per_species=PHANTOM_SLICES, planes="random", seed=0)
    make_dataset(folder / "volumes", folder / "raw", ingest)
    segment_dataset(folder / "raw", folder / "slices")
    return folder / "slices"


def write_slices(folder: Path, slices: list[tuple[str, bytes]], edge: int, channels: int) -> Path:
    """Write images as a data set, every fifth of a class to the test split and the next one to validation."""
    from components.shared.contracts import SlicesInfo
    from components.shared.slices import Slice, SlicesWriter

    folder.mkdir(parents=True)
    classes, splits = tuple(sorted({species for species, _ in slices})), {0: "test", 1: "validation"}
    numbers = dict.fromkeys(classes, 0)
    with SlicesWriter(folder, classes) as writer:
        for row, (species, png) in enumerate(slices):
            split = splits.get(numbers[species] % TEST_SHARE, "train")
            numbers[species] += 1
            writer.add(Slice(str(row), species, str(row), split, "photograph", 0.5, 0.0, {}, png))
        fields = {"classes": classes, "image_size": edge, "channels": channels, "counts": writer.counts()}
        writer.finish(SlicesInfo(**fields, seed=0, preprocessing={}, sources_hash="none"))
    return folder


BENCHMARKS = {"probe": probe}
