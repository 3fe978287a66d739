"""Training on cached features: its artifact, interruptions, and caches that several data sets share."""

import random
import shutil
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.contracts import BackboneCard
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import InputSpec
from components.train.checkpoints import CheckpointStore
from components.train.probe.cache import FeatureCache
from components.train.recipe import Recipe
from components.train.training import train_backbone
from tests.train.interruptions import PowerCutError, kill_after_progress, run_training, training_command


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Two phases on cached features with every part that has a state."""
    weights = tmp_path_factory.mktemp("weights") / "resnet_small.weights.h5"
    keras.utils.set_random_seed(7)
    build_backbone("resnet_small", InputSpec(32, 1, 3)).get_layer("features").save_weights(weights)
    return Recipe(
        weights=str(weights),
        image_size=16,
        frozen_epochs=2,
        epochs=3,
        schedule="plateau",
        plateau_patience=1,
        batch_size=32,
        frozen_learning_rate=1e-6,
        learning_rate=1e-3,
        mixup_alpha=0.2,
        mix_probability=0.5,
        class_weights="balanced",
        unfreeze=9,
        probe_views=3,
    )


@pytest.fixture(scope="module")
def uninterrupted(segmented_slices: Path, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_backbone(segmented_slices, "resnet_small", recipe, 5, folder / "model", features=folder / "features")
    return folder


def weights_of(folder: Path) -> list[np.ndarray]:
    weights: list[np.ndarray] = keras.saving.load_model(folder / "model" / "model.keras", compile=False).get_weights()
    return weights


def assert_same_bits(folder: Path, other: Path) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(weights_of(folder), weights_of(other), strict=True))
    cards = [BackboneCard.read(path / "model" / "model.json") for path in (folder, other)]
    assert cards[0].history == cards[1].history


def test_a_probed_model_is_an_ordinary_network(uninterrupted: Path, recipe: Recipe) -> None:
    card = BackboneCard.read(uninterrupted / "model" / "model.json")
    model = keras.saving.load_model(uninterrupted / "model" / "model.keras", compile=False)
    network = build_backbone("resnet_small", InputSpec(16, 1, 3))
    network.get_layer("features").load_weights(recipe.weights)
    assert [type(layer) for layer in model.layers] == [type(layer) for layer in network.layers]
    assert [epoch["phase"] for epoch in card.history] == [1, 1, 2, 2, 2]
    assert card.parameters == network.count_params()
    layers = [network.get_layer("features").layers, model.get_layer("features").layers]
    changed = [
        number
        for number, (before, after) in enumerate(zip(*layers, strict=True))
        if any(not np.array_equal(*pair) for pair in zip(before.get_weights(), after.get_weights(), strict=True))
    ]
    assert all(number >= len(layers[0]) - 9 for number in changed)


@pytest.mark.slow
def test_a_probe_interrupted_anywhere_ends_with_the_same_bits(
    segmented_slices: Path, recipe: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    for attribute, calls in (("append", 3), ("save", 1), ("save", 2)):
        owner: type = FeatureCache if attribute == "append" else CheckpointStore
        with pytest.MonkeyPatch.context() as monkeypatch:
            cut_power_at(monkeypatch, owner, attribute, calls)
            with pytest.raises(PowerCutError):
                train_backbone(segmented_slices, "resnet_small", recipe, 5, tmp_path / "model")
    train_backbone(segmented_slices, "resnet_small", recipe, 5, tmp_path / "model")
    assert_same_bits(tmp_path, uninterrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def cut_power_at(monkeypatch: pytest.MonkeyPatch, owner: type, attribute: str, calls: int) -> None:
    """Raise an error in a method's call with a number, counted from 0; the calls before are complete."""
    original, count = getattr(owner, attribute), iter(range(calls))

    def method(*arguments: object) -> None:
        if next(count, None) is None:
            raise PowerCutError
        original(*arguments)

    monkeypatch.setattr(owner, attribute, method)


def test_a_shared_cache_gives_the_same_model_without_computing(
    segmented_slices: Path, recipe: Recipe, uninterrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(uninterrupted / "features", tmp_path / "features")
    on_disk = recipe.model_copy(update={"cache_gigabytes": 0.0})
    capsys.readouterr()
    train_backbone(segmented_slices, "resnet_small", on_disk, 5, tmp_path / "model", features=tmp_path / "features")
    assert "features" not in capsys.readouterr().out
    assert_same_bits(tmp_path, uninterrupted)


@pytest.mark.slow
def test_a_probe_killed_at_random_moments_ends_with_the_same_bits(
    segmented_slices: Path, recipe: Recipe, uninterrupted: Path, tmp_path: Path
) -> None:
    rng = random.Random(time.time_ns())
    command = training_command(segmented_slices, "resnet_small", recipe, tmp_path / "model")
    for unit in ("features", "features", "epochs", "epochs"):
        kill_after_progress(command, unit, rng.uniform(0, 0.3))
    run_training(command)
    assert_same_bits(tmp_path, uninterrupted)
