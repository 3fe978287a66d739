"""The presets contain the published recipes, and an invalid training is rejected at once."""

import pytest

from components.parameters.check import check_training
from components.shared.errors import BadConfigError
from components.train.optimization import training_phases
from components.train.recipe import Recipe
from pipelines.presets import load_preset

FOSSIL_DEPTHS = {
    "convnext_large": 120,
    "convnext_base": 80,
    "efficientnetv2_l": 80,
    "efficientnetv2_s": 60,
    "nasnet_large": 60,
    "resnet101v2": 60,
    "mobilenet": None,
}


def recipe_of(preset: str, backbone: str) -> Recipe:
    return Recipe.parse(load_preset(preset).parameters["recipe"], backbone)


def check_fields(recipe: Recipe, **fields: object) -> None:
    assert recipe.model_dump(include=set(fields)) == pytest.approx(fields)


def test_fossil_trains_the_published_backbones_to_the_published_depths() -> None:
    parameters = load_preset("fossil").parameters
    assert set(parameters["backbones"]) == set(FOSSIL_DEPTHS)
    for backbone, depth in FOSSIL_DEPTHS.items():
        phases = training_phases(recipe_of("fossil", backbone), backbone)
        settings = [(phase.number, phase.epochs, phase.learning_rate, phase.unfreeze) for phase in phases]
        assert settings == [(1, 10, 3e-4, 0), (2, 20, 1e-5, depth)]
    assert parameters["slices_per_species"] == 10_000
    assert (parameters["image_size"], parameters["planes"]) == (224, "published")


def test_fossil_has_the_published_optimizer_loss_and_views() -> None:
    recipe = recipe_of("fossil", "convnext_large")
    assert (recipe.weights, recipe.schedule, recipe.precision) == ("imagenet", "cosine", "mixed_float16")
    assert (recipe.image_size, recipe.flips) == ("native", "both")
    check_fields(
        recipe, batch_size=32, weight_decay=5e-4, clip_norm=1.0, ema_momentum=0.999, patience=6, warmup_epochs=0
    )
    check_fields(recipe, focal_gamma=1.5, label_smoothing=0.05, mixup_alpha=0.2, mix_probability=1.0, brightness=0.0)
    assert min(recipe.rotation, recipe.contrast, recipe.zoom, recipe.cutmix_alpha) > 0


def test_fish_trains_one_network_from_scratch_and_one_in_two_phases() -> None:
    scratch, transfer = (recipe_of("fish", name) for name in ("cnn", "efficientnetb0"))
    assert [phase.number for phase in training_phases(scratch, "cnn")] == [2]
    check_fields(scratch, patience=10, plateau_patience=5)
    phases = training_phases(transfer, "efficientnetb0")
    settings = [(phase.epochs, phase.learning_rate, phase.unfreeze) for phase in phases]
    assert settings == [(5, 1e-3, 0), (15, 1e-5, 50)]
    assert (scratch.weights, transfer.weights) == ("none", "imagenet")
    check_fields(transfer, patience=7, plateau_patience=3)


@pytest.mark.parametrize("backbone", ["cnn", "efficientnetb0"])
def test_fish_has_the_published_views_and_callbacks(backbone: str) -> None:
    recipe = recipe_of("fish", backbone)
    assert (recipe.class_weights, recipe.monitor, recipe.flips) == ("balanced", "val_accuracy", "horizontal")
    check_fields(recipe, plateau_factor=0.5, plateau_floor=1e-7, shift=0.2, zoom=0.2, shear=0.2, brightness=0.2)
    assert recipe.schedule == "plateau"
    assert recipe.rotation * 360 == pytest.approx(30, abs=0.01)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"backbones": ["resnet_500"]}, "backbone 'resnet_500': expected one of"),
        ({"backbones": []}, "backbones is empty: expected at least one"),
        ({"backbones": ["mobilenet"], "large_backbones": ["big"]}, "backbone 'big': expected one of"),
        ({"backbones": ["cnn"], "recipe": {"weights": "imagenet"}}, "imagenet' of cnn"),
        ({"backbones": ["efficientnet_lite0"], "recipe": {"weights": "imagenet"}}, "efficientnet_lite0 to packaged"),
        ({"backbones": ["mobilenet"], "recipe": {"weights": "packaged"}}, "packaged' of mobilenet"),
        ({"backbones": ["cnn"], "recipe": {"epochs": "ten"}}, "recipe key 'epochs' with value 'ten'"),
        ({"backbones": ["cnn"], "recipe": {"backbones": {"cnn": {"epochs": 0}}}}, "both 0"),
        ({"gate": {"smallest_recal": 0.9}}, "gate key 'smallest_recal': expected one of smallest_recall"),
        ({"threshold": 1.5}, "parameter 'threshold' with value 1.5"),
        ({"seed": -3}, "seed -3: expected a whole number"),
        ({"canary": {"percnt": 10}}, "canary key 'percnt': expected one of percent"),
        ({"target": "kserv://lab/forams"}, "target 'kserv://lab/forams'"),
    ],
)
def test_an_invalid_training_is_rejected_before_the_first_step(parameters: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfigError, match=words):
        check_training(parameters)
