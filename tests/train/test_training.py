"""Training leaves a whole artifact or none."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from kfp import dsl

from components.shared.contracts import BackboneCard
from components.shared.errors import TrainingError
from components.shared.slices import INFO_FILE, read_info
from components.train.component import train
from components.train.recipe import Recipe
from components.train.training import train_backbone


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


def test_a_species_without_training_slices_ends_in_a_sentence_and_leaves_nothing(
    segmented_slices: Path, tmp_path: Path
) -> None:
    damaged = Path(shutil.copytree(segmented_slices, tmp_path / "slices"))
    info = read_info(damaged)
    kept = tuple(count for count in info.counts if not (count.species == "Fallotia" and count.split == "train"))
    info.model_copy(update={"counts": kept}).write(damaged / INFO_FILE)
    with pytest.raises(TrainingError, match="no training slices of Fallotia"):
        train_backbone(damaged, "cnn_small", Recipe(epochs=1), 0, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_loss_that_is_not_a_number_ends_in_a_sentence_and_leaves_nothing(
    segmented_slices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keras.losses.CategoricalCrossentropy, "call", lambda *_: keras.ops.mean(_[2]) * float("nan"))
    with pytest.raises(TrainingError, match="not a number"):
        train_backbone(segmented_slices, "cnn_small", Recipe(epochs=2), 0, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_component_leaves_model_metrics_and_curves(segmented_slices: Path, tmp_path: Path) -> None:
    model, metrics, curves = (
        dsl.Model(uri=str(tmp_path / "model")),
        dsl.Metrics(uri=str(tmp_path / "metrics")),
        dsl.HTML(uri=str(tmp_path / "curves.html")),
    )
    train.python_func(
        slices=dsl.Dataset(uri=str(segmented_slices)),
        backbone="cnn_small",
        recipe={"epochs": 1.0, "batch_size": 16.0},
        seed=0,
        model=model,
        metrics=metrics,
        curves=curves,
    )
    assert 0 <= metrics.metadata["accuracy"] <= 1
    assert model.metadata["backbone"] == "cnn_small"
    assert "<svg" in Path(curves.path).read_text()


def test_a_bad_recipe_ends_the_component_with_exit_code_two(
    segmented_slices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        train.python_func(
            slices=dsl.Dataset(uri=str(segmented_slices)),
            backbone="cnn_small",
            recipe={"epoch": 1},
            seed=0,
            model=dsl.Model(uri=str(tmp_path / "model")),
            metrics=dsl.Metrics(uri=str(tmp_path / "metrics")),
            curves=dsl.HTML(uri=str(tmp_path / "curves.html")),
        )
    assert ended.value.code == 2
    assert capsys.readouterr().out.startswith("[train cnn_small] bad_input: recipe key 'epoch'")
    assert not (tmp_path / "model").exists()
