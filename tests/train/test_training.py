"""The artifact of a training."""

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from components.shared.contracts import BackboneCard
from components.shared.slices import read_info
from components.train.backbones.registry import InputSpec, find_packaged
from components.train.recipe import Recipe
from components.train.training import Training, train_backbone


def test_training_learns_and_its_card_describes_the_model(
    trained_backbones: tuple[Path, ...], segmented_slices: Path
) -> None:
    for folder in trained_backbones:
        card = BackboneCard.read(folder / "model.json")
        info = read_info(segmented_slices)
        model = keras.saving.load_model(folder / "model.keras", compile=False)
        assert card.parameters == model.count_params()
        assert (card.classes, card.data_hash) == (info.classes, info.sources_hash)
        assert card.history[-1]["loss"] < card.history[0]["loss"]
        assert card.metrics["loss"] == min(epoch["val_loss"] for epoch in card.history)
        history = pd.read_csv(folder / "history.csv")
        assert history["val_loss"].tolist() == pytest.approx([epoch["val_loss"] for epoch in card.history], rel=1e-4)


def test_the_same_seed_trains_the_same_network(segmented_slices: Path, tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=32)
    for name in ("one", "two"):
        train_backbone(segmented_slices, "cnn_small", recipe, 3, tmp_path / name)
    one, two = (keras.saving.load_model(tmp_path / name / "model.keras").get_weights() for name in ("one", "two"))
    assert max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)) < 1e-4


@pytest.mark.parametrize("precision", [pytest.param("mixed_float16", marks=pytest.mark.slow), "mixed_bfloat16"])
def test_a_model_trained_in_mixed_precision_computes_in_float32(
    precision: str, segmented_slices: Path, tmp_path: Path
) -> None:
    recipe = Recipe.parse({"epochs": 1, "batch_size": 64, "precision": precision})
    card = train_backbone(segmented_slices, "cnn_small", recipe, 0, tmp_path / "model")
    model = keras.saving.load_model(tmp_path / "model" / "model.keras", compile=False)
    assert keras.config.dtype_policy().name == "float32"
    assert {layer.dtype_policy.name for layer in model.get_layer("features").layers} == {"float32"}
    assert np.isfinite(card.metrics["loss"])


def test_balanced_class_weights_give_each_species_the_same_sum(segmented_slices: Path) -> None:
    info = read_info(segmented_slices)
    counts = tuple(
        count.model_copy(update={"slices": 8 if count.species == "Fallotia" else count.slices}) for count in info.counts
    )
    unbalanced_info = info.model_copy(update={"counts": counts})
    training = Training(
        segmented_slices, unbalanced_info, "cnn_small", Recipe(class_weights="balanced"), 0, InputSpec(32, 1, 3)
    )
    weights = training.class_weights
    assert weights is not None
    sums = [weight * count for weight, count in zip(weights.values(), training.counts, strict=True)]
    assert sums == pytest.approx([sum(training.counts) / 3] * 3)
    assert replace(training, recipe=Recipe()).class_weights is None


@pytest.mark.slow
def test_packaged_features_are_probed_and_fine_tuned(segmented_slices: Path, tmp_path: Path) -> None:
    fields = {"weights": "packaged", "frozen_epochs": 1, "epochs": 1, "unfreeze": 11, "learning_rate": 1e-4}
    card = train_backbone(segmented_slices, "efficientnet_lite0", Recipe.parse(fields), 0, tmp_path / "model")
    assert card.weights_sha256 == find_packaged("efficientnet_lite0").sha256
    assert [epoch["phase"] for epoch in card.history] == [1, 2]
    assert np.isfinite(card.metrics["loss"])
