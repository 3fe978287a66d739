"""A resumed training ends like an uninterrupted one."""

import random
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.contracts import BackboneCard
from components.shared.slices import read_info
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec
from components.train.checkpoints import CheckpointStore
from components.train.recipe import Recipe
from components.train.training import Training, train_backbone
from tests.train.interruptions import PowerCutError, kill_after_progress, run_training, training_command


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two phases with every part that has a state: average, dropout, plateau, mixing, early stopping."""
    weights = tmp_path_factory.mktemp("weights") / "cnn_small.weights.h5"
    keras.utils.set_random_seed(7)
    build_backbone("cnn_small", InputSpec(32, 1, 3)).get_layer("features").save_weights(weights)
    return Recipe(
        weights=str(weights),
        image_size=16,
        frozen_epochs=2,
        epochs=4,
        schedule="plateau",
        plateau_patience=1,
        batch_size=32,
        learning_rate=1e-3,
        mixup_alpha=0.2,
        mix_probability=0.5,
        unfreeze=8,
    )


@pytest.fixture(scope="module")
def uninterrupted(segmented_slices: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "model"
    train_backbone(segmented_slices, "cnn_small", recipe, 5, folder)
    return folder


def assert_same_training(folder: Path, other: Path) -> None:
    one, two = (keras.saving.load_model(path / "model.keras", compile=False).get_weights() for path in (folder, other))
    assert max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)) < 1e-4
    cards = [BackboneCard.read(path / "model.json") for path in (folder, other)]
    losses = [[epoch["val_loss"] for epoch in card.history] for card in cards]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def cut_power_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Raise an error while the state after an epoch is written."""
    original_save = CheckpointStore.save

    def save(store: CheckpointStore, state: object, model: keras.Model) -> None:
        if getattr(state, "epoch", 0) > epochs:
            (store.folder / f".epoch-{epochs + 1:05d}.unfinished").mkdir(exist_ok=True)
            raise PowerCutError
        original_save(store, state, model)  # type: ignore[arg-type]

    monkeypatch.setattr(CheckpointStore, "save", save)


def test_a_training_interrupted_in_each_phase_ends_the_same(
    segmented_slices: Path, recipe: Recipe, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (2, 4):
        with pytest.MonkeyPatch.context() as monkeypatch:
            cut_power_after(monkeypatch, epochs)
            with pytest.raises(PowerCutError):
                train_backbone(segmented_slices, "cnn_small", recipe, 5, tmp_path / "model")
        assert not (tmp_path / "model").exists()
    capsys.readouterr()
    train_backbone(segmented_slices, "cnn_small", recipe, 5, tmp_path / "model")
    assert "4/6 epochs" not in capsys.readouterr().out
    assert_same_training(tmp_path / "model", uninterrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_checkpoints_of_other_inputs_are_not_used(segmented_slices: Path, recipe: Recipe) -> None:
    info = read_info(segmented_slices)
    training = Training(segmented_slices, info, "cnn_small", recipe, 5, InputSpec(16, 1, 3))
    others = (
        replace(training, seed=6),
        replace(training, backbone="resnet_small"),
        replace(training, recipe=recipe.model_copy(update={"learning_rate": 0.01})),
    )
    keys = {other.key("") for other in (training, *others)} | {training.key("of other weights")}
    assert len(keys) == 5
    assert training.key("") == replace(training).key("")


def test_the_artifact_records_both_phases_and_the_weights_file(uninterrupted: Path, recipe: Recipe) -> None:
    card = BackboneCard.read(uninterrupted / "model.json")
    assert [epoch["phase"] for epoch in card.history] == [1, 1, 2, 2, 2, 2]
    assert card.frozen_epochs == 2
    assert len(card.weights_sha256) == 64
    assert card.image_size == recipe.image_size
    assert any((uninterrupted / "tensorboard").rglob("events.out.tfevents.*"))
    assert "learning_rate" in (uninterrupted / "history.csv").read_text().splitlines()[0]


@pytest.mark.slow
def test_a_training_killed_at_three_random_moments_ends_the_same(
    segmented_slices: Path, recipe: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    rng = random.Random(time.time_ns())
    command = training_command(segmented_slices, "cnn_small", recipe, tmp_path / "model")
    for _ in range(3):
        kill_after_progress(command, "epochs", rng.uniform(0, 0.3))
    run_training(command)
    assert_same_training(tmp_path / "model", uninterrupted)
