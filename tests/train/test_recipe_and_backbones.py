"""The recipe refuses what it does not know; every backbone keeps the registry's promises."""

from pathlib import Path

import keras
import numpy as np
import pytest

from components.shared.errors import BadConfigError
from components.train.backbones.build import build_backbone
from components.train.backbones.registry import BACKBONES
from components.train.recipe import Recipe


def test_a_recipe_of_json_numbers_is_read() -> None:
    assert Recipe.parse({"epochs": 3.0, "learning_rate": 0.01}).epochs == 3


@pytest.mark.parametrize(
    ("fields", "word"),
    [({"epoch": 3}, "epoch"), ({"epochs": -1}, "epochs"), ({"epochs": "many"}, "epochs"), ({"zoom": 2}, "zoom")],
)
def test_an_impossible_recipe_is_refused_by_its_key(fields: dict[str, object], word: str) -> None:
    with pytest.raises(BadConfigError, match=f"recipe key '{word}'"):
        Recipe.parse(fields)


def test_an_unknown_backbone_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadConfigError, match=r"'resnet_500': expected one of .*cnn_small"):
        build_backbone("resnet_500", 32, 1, 3)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_backbone_saved_and_loaded_answers_the_same(name: str, channels: int, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    model = build_backbone(name, 32, channels, 5)
    slices = np.random.default_rng(0).integers(0, 256, (4, 32, 32, channels)).astype(np.float32)
    logits = np.asarray(model(slices, training=False))
    assert logits.shape == (4, 5)
    assert model.get_layer("embedding").output.shape[1] >= 64
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_allclose(again(slices, training=False), logits, atol=1e-5)


def test_cnn_small_has_about_three_hundred_thousand_weights() -> None:
    assert 250_000 < build_backbone("cnn_small", 64, 1, 12).count_params() < 350_000
