"""The recipe refuses what it does not know and says which phases there are."""

import pytest

from components.shared.errors import BadConfigError
from components.train.phases import phases_of
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


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epochs": 0}, "both 0"),
        ({"frozen_epochs": 3}, "freeze random features"),
        ({"unfreeze": -1}, "at least 0"),
        ({"image_size": 4}, "from 8 to 1024"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfigError, match=words):
        Recipe.parse(fields)


@pytest.mark.parametrize(
    ("fields", "backbone", "phases"),
    [
        ({"epochs": 4}, "convnext_base", [(2, 4, None)]),
        ({"weights": "imagenet", "frozen_epochs": 10, "epochs": 20}, "convnext_base", [(1, 10, 0), (2, 20, 80)]),
        ({"weights": "imagenet", "frozen_epochs": 10, "epochs": 0}, "dinov2_small", [(1, 10, 0)]),
        ({"weights": "imagenet", "epochs": 5, "unfreeze": 7}, "mobilenet", [(2, 5, 7)]),
        ({"weights": "imagenet", "epochs": 5, "unfreeze": "all"}, "convnext_base", [(2, 5, None)]),
    ],
)
def test_a_recipe_has_the_phases_that_it_asks_for(
    fields: dict[str, object], backbone: str, phases: list[tuple[int, int, int | None]]
) -> None:
    found = phases_of(Recipe.parse(fields), backbone)
    assert [(phase.number, phase.epochs, phase.unfreeze) for phase in found] == phases
