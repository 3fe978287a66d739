"""Effect of class weights, transfer from other species, and a second phase on imbalanced photographs.

Synthetic fishes: a network is pretrained on one half of the species and classifies the other half, with 9 times more
photographs of the most frequent species than of the rarest. The test split has other specimens, equally many of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks.class_weights import accuracy_and_f1
from tests.benchmarks.measurement import Measurement

NETWORK, EDGE, SEEDS = "resnet_small", 48, (0, 1)
MOST_SPECIMENS, IMBALANCE, TEST_SPECIMENS = 100, 11, 40
COMMON = {"epochs": 40, "batch_size": 16, "rotation": 0.04, "shift": 0.05, "flips": "horizontal", "ema_momentum": 0.95}
STAGE_1 = {"class_weights": "balanced", "frozen_epochs": 20, "frozen_learning_rate": 0.01}
RECIPES: dict[str, dict[str, Any]] = {
    "scratch": {},
    "scratch, balanced": {"class_weights": "balanced"},
    "transfer, stage 1": STAGE_1 | {"epochs": 0},
    "transfer, both stages": STAGE_1 | {"epochs": 20},
}
COMPARISONS = (
    ("scratch, balanced", "scratch", "class weights"),
    ("transfer, both stages", "scratch, balanced", "transfer"),
    ("transfer, both stages", "transfer, stage 1", "stage 2"),
)


@dataclass(frozen=True)
class Outcome:
    """Accuracy, and F1 of the rarest species, on the test split after one training."""

    accuracy: float
    rarest_f1: float


def photo_recipes(scratch: Path) -> Iterator[Measurement]:
    """Train with each recipe for each seed, and compare the recipes in pairs."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in RECIPES}
    for seed in SEEDS:
        folder = scratch / str(seed)
        pretraining_slices, slices = write_halves(folder, seed)
        teacher = _train(pretraining_slices, folder / "teacher", {}, seed) / "model.keras"
        for name, recipe in RECIPES.items():
            start = {"weights": str(teacher)} if "frozen_epochs" in recipe else {}
            outcomes[name].append(_test(slices, _train(slices, folder / name, recipe | start, seed)))
    for better, reference, effect in COMPARISONS:
        yield from _compare(effect, outcomes[better], outcomes[reference])


def write_halves(folder: Path, seed: int) -> tuple[Path, Path]:
    """Generate photographs and two data sets: of the species for pretraining, and of those for classification."""
    from components.ingest.config import IngestConfig
    from components.ingest.dataset import make_dataset
    from components.phantoms.fishes.dataset import PhotoConfig, generate_photographs
    from components.phantoms.fishes.forms import FISHES

    imbalanced_config = PhotoConfig(
        specimens_per_species=MOST_SPECIMENS, imbalance=IMBALANCE, unseen_per_species=0, seed=seed
    )
    balanced_config = PhotoConfig(
        specimens_per_species=TEST_SPECIMENS, imbalance=1, unseen_per_species=0, seed=seed + 1000
    )
    for name, config in (("imbalanced", imbalanced_config), ("balanced", balanced_config)):
        generate_photographs(folder / name, config.model_copy(update={"size": 2 * EDGE}))
    halves = []
    for half in ("pretraining", "classification"):
        species = list(FISHES)[half == "classification" :: 2]
        _write_manifest(folder, half, species)
        config = IngestConfig.checked(image_size=EDGE, slices_per_species=10_000, planes="random", seed=seed)
        make_dataset(folder / f"{half}.csv", folder / half, config)
        halves.append(folder / half)
    return halves[0], halves[1]


def _write_manifest(folder: Path, half: str, species: Sequence[str]) -> None:
    """Write a manifest of some species: imbalanced for training and validation, balanced for the test."""
    tables = []
    for name in ("imbalanced", "balanced"):
        table = pd.read_csv(folder / name / "manifest.csv", keep_default_na=False)
        table["path"] = name + "/" + table["path"]
        table["specimen"] = name + "-" + table["specimen"].str.removesuffix("-again")
        number = table["specimen"].str.extract(r"-(\d+)$")[0].astype(int)
        table["split"] = "test" if name == "balanced" else np.where(number % 4 == 0, "validation", "train")
        tables.append(table[table["species"].isin(species)])
    pd.concat(tables).to_csv(folder / f"{half}.csv", index=False)


def _train(slices: Path, folder: Path, recipe: dict[str, Any], seed: int) -> Path:
    from components.train.recipe import Recipe
    from components.train.training import train_backbone

    train_backbone(slices, NETWORK, Recipe.parse(COMMON | recipe), seed, folder)
    return folder


def _test(slices: Path, model: Path) -> Outcome:
    from components.shared.slices import read_info

    info = read_info(slices)
    training_slices = {count.species: count.slices for count in info.counts if count.split == "train"}
    rarest = info.classes.index(min(training_slices, key=training_slices.__getitem__))
    return Outcome(*accuracy_and_f1(slices, model, rarest))


def _compare(effect: str, better: Sequence[Outcome], reference: Sequence[Outcome]) -> Iterator[Measurement]:
    for figure, field in (("accuracy", "accuracy"), ("rarest species' F1", "rarest_f1")):
        first, second = (np.mean([getattr(outcome, field) for outcome in outcomes]) for outcomes in (better, reference))
        name, ratio = f"photo-recipes {effect}, {figure}", float(first / second) if second else None
        yield Measurement(name, float(first), "share", float(second), ratio, "with it, compared with without it")


BENCHMARKS = {"photo-recipes": photo_recipes}
