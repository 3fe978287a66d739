"""Training leaves a whole artifact or none."""

import re
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from kfp import dsl

from components.shared.contracts import BackboneCard
from components.shared.slices import read_info
from components.train.component import train
from components.train.recipe import Recipe
from components.train.training import Training, loss_of, train_backbone


def test_training_learns_and_its_card_tells_the_truth(
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
def test_what_was_trained_in_mixed_precision_computes_in_float32(
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
    rare = info.model_copy(update={"counts": counts})
    training = Training(segmented_slices, rare, "cnn_small", Recipe(class_weights="balanced"), 0, 32)
    weights = training.class_weights
    assert weights is not None
    sums = [weight * count for weight, count in zip(weights.values(), training.counts, strict=True)]
    assert sums == pytest.approx([sum(training.counts) / 3] * 3)
    assert replace(training, recipe=Recipe()).class_weights is None


def test_the_focal_loss_is_the_cross_entropy_scaled_by_what_is_missing() -> None:
    logits, truth = np.array([[2.0, 0.5, -1.0]], np.float32), np.array([[1.0, 0.0, 0.0]], np.float32)
    share = float(np.exp(2.0) / np.exp(logits).sum())
    focal = float(loss_of(Recipe(focal_gamma=1.5, label_smoothing=0))(truth, logits))
    assert focal == pytest.approx((1 - share) ** 1.5 * -np.log(share), rel=1e-4)


def outputs(folder: Path) -> dict[str, dsl.Artifact]:
    kinds = {"model": dsl.Model, "metrics": dsl.Metrics, "epochs": dsl.Metrics, "tensorboard": dsl.Artifact}
    pages = {name: dsl.HTML(uri=str(folder / f"{name}.html")) for name in ("curves", "views")}
    return {name: kind(uri=str(folder / name)) for name, kind in kinds.items()} | pages


def test_the_component_leaves_a_model_and_what_there_is_to_look_at(segmented_slices: Path, tmp_path: Path) -> None:
    left, slices = outputs(tmp_path), dsl.Dataset(uri=str(segmented_slices))
    recipe = {"epochs": 2.0, "batch_size": 16.0, "cutmix_alpha": 1.0, "mix_probability": 1.0}
    train.python_func(slices=slices, backbone="cnn_small", recipe=recipe, seed=0, **left)
    assert 0 <= left["metrics"].metadata["accuracy"] <= 1
    assert left["model"].metadata["backbone"] == "cnn_small"
    assert "<svg" in Path(left["curves"].path).read_text()
    assert left["epochs"].metadata.keys() == {
        f"epoch {number} {name}" for number in ("01", "02") for name in ("val_accuracy", "val_loss")
    }
    assert any(Path(left["tensorboard"].path).rglob("events.out.tfevents.*"))
    assert not (tmp_path / "model" / "tensorboard").exists()
    views = Path(left["views"].path).read_text()
    assert views.count("data:image/png") == 16 + 3
    assert re.search(r"\d+% \w+, \d+% \w+", views)


def test_a_bad_recipe_ends_the_component_with_exit_code_two(
    segmented_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = dsl.Dataset(uri=str(segmented_slices))
    with pytest.raises(SystemExit) as ended:
        train.python_func(slices=slices, backbone="cnn_small", recipe={"epoch": 1}, seed=0, **outputs(tmp_path))
    assert ended.value.code == 2
    assert capsys.readouterr().out.startswith("[train cnn_small] bad_input: recipe key 'epoch'")
    assert not (tmp_path / "model").exists()
