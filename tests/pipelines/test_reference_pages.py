"""The generated reference pages are up to date and complete."""

import pytest

from components.deploy.canary.settings import CanarySettings
from components.evaluate.gate import GateConditions
from components.shared.config import Frozen
from components.train.recipe import Recipe
from pipelines.presets import PhantomParameters
from pipelines.reference_pages import FOLDER, field_meanings, pages, range_text, type_text
from pipelines.resources import TaskResources


@pytest.mark.parametrize("name", ["presets.md", "recipe.md"])
def test_a_reference_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text() == pages()[name], "run `make docs`"


@pytest.mark.parametrize("model", [Recipe, GateConditions, CanarySettings, TaskResources, PhantomParameters])
def test_every_key_has_a_meaning(model: type[Frozen]) -> None:
    meanings = field_meanings(model)
    assert meanings.keys() == model.model_fields.keys()
    assert all(len(text) > 5 for text in meanings.values())


def test_types_and_ranges_are_in_words() -> None:
    fields = Recipe.model_fields
    assert type_text(fields["image_size"].annotation) == "integer or `slices`, `native`"
    assert type_text(GateConditions.model_fields["recall_by_species"].annotation) == "dictionary of number"
    assert range_text(fields["learning_rate"]) == "> 0, ≤ 1"
    assert range_text(GateConditions.model_fields["recall_by_species"]) == "≥ 0, ≤ 1"
