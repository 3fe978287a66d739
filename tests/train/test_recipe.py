"""The recipe rejects unknown keys and impossible values."""

import pytest

from components.shared.errors import BadConfigError
from components.train.recipe import LARGEST_SEED, Recipe, check_seed


def test_a_recipe_of_json_numbers_is_read() -> None:
    assert Recipe.parse({"epochs": 3.0, "learning_rate": 0.01}).epochs == 3


@pytest.mark.parametrize(
    ("fields", "clause"),
    [
        ({"epoch": 3}, "'epoch': expected one of .*epochs"),
        ({"epochs": -1}, "'epochs' with value -1: expected greater than or equal to 0"),
        ({"epochs": "many"}, "'epochs' with value 'many': expected a valid integer"),
        ({"epochs": 2.5}, "'epochs' with value 2.5: expected a valid integer"),
        ({"batch_size": 0}, "'batch_size' with value 0: expected greater than or equal to 1"),
        ({"probe_views": 65}, "'probe_views' with value 65: expected less than or equal to 64"),
        ({"zoom": 2}, "'zoom' with value 2: expected less than 1"),
        ({"learning_rate": float("nan")}, "'learning_rate' with value nan: expected a finite number"),
        ({"clip_norm": float("inf")}, "'clip_norm' with value inf: expected a finite number"),
        ({"warmup_epochs": 1e9}, "'warmup_epochs' .*less than or equal to 1000"),
        ({"image_size": "huge"}, "'image_size' with value 'huge': expected a valid integer or 'slices' or 'native'"),
        ({"schedule": "linear"}, "'schedule' with value 'linear': expected 'cosine', 'constant' or 'plateau'"),
        ({"weights": "x" * 5000}, "'weights' with value 'x{79}[.]{3}: expected at most 4096"),
        ({"weights": "Packaged"}, "'weights': 'Packaged', expected none, imagenet, packaged, or a file that ends in"),
        ({"weights": None}, "'weights' with value None: expected a valid string"),
    ],
)
def test_an_invalid_value_is_rejected_with_the_valid_range(fields: dict[str, object], clause: str) -> None:
    with pytest.raises(BadConfigError, match=f"recipe key {clause}"):
        Recipe.parse(fields)


@pytest.mark.parametrize(
    ("fields", "clause"),
    [
        ({"epochs": 0}, "both 0"),
        ({"frozen_epochs": 3}, "freeze random features"),
        ({"unfreeze": -1}, "at least 0"),
        ({"probe_views": 4}, "probe_views without frozen_epochs"),
        ({"probe_views": 4, "weights": "imagenet", "frozen_epochs": 1, "cutmix_alpha": 1}, "CutMix needs slices"),
        ({"image_size": 4}, "from 8 to 1024"),
        ({"image_size": 10**9}, "from 8 to 1024"),
    ],
)
def test_a_contradictory_recipe_is_rejected(fields: dict[str, object], clause: str) -> None:
    with pytest.raises(BadConfigError, match=clause):
        Recipe.parse(fields)


def test_keys_under_backbones_override_the_common_ones() -> None:
    fields = {"epochs": 4, "batch_size": 8, "backbones": {"mobilenet": {"weights": "imagenet", "epochs": 2.0}}}
    common, own = Recipe.parse(fields, "cnn_small"), Recipe.parse(fields, "mobilenet")
    assert (common.weights, common.epochs, common.batch_size) == ("none", 4, 8)
    assert (own.weights, own.epochs, own.batch_size) == ("imagenet", 2, 8)
    assert Recipe.parse(fields) == common


@pytest.mark.parametrize(
    ("overrides", "clause"),
    [
        ({"mobilnet": {}}, "backbone 'mobilnet': expected one of"),
        ({"mobilenet": {"epoch": 1}}, "recipe key 'epoch'"),
        ({"mobilenet": {"backbones": {}}}, "recipe key 'backbones': expected one of"),
        ({"mobilenet": 3}, "recipe key 'backbones' with value .*expected a recipe for each"),
        (["mobilenet"], "recipe key 'backbones' with value .*expected a recipe for each"),
    ],
)
def test_invalid_overrides_of_a_backbone_are_rejected(overrides: object, clause: str) -> None:
    with pytest.raises(BadConfigError, match=clause):
        Recipe.parse({"epochs": 1, "backbones": overrides}, "mobilenet")


@pytest.mark.parametrize("seed", [-1, LARGEST_SEED + 1, 10**30])
def test_a_seed_out_of_range_is_rejected_with_the_range(seed: int) -> None:
    assert check_seed(LARGEST_SEED) == LARGEST_SEED
    with pytest.raises(BadConfigError, match=f"seed {seed}: expected a whole number from 0 to 4294967295"):
        check_seed(seed)
