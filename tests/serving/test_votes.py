"""The vote on a specimen among all species of the model."""

from dataclasses import replace

import numpy as np
import pytest

from serving.outputs import Outputs
from serving.votes import ModelDescription, specimen_votes

SPECIES = ("alveolina", "fallotia", "lockhartia")
DESCRIPTION = ModelDescription(SPECIES)
SCORES = [[0.50, 0.05, 0.45], [0.05, 0.50, 0.45]]


def outputs(species: tuple[str, ...] = ("alveolina", "fallotia")) -> Outputs:
    values = {"species": species, "confidence": [0.5, 0.5], "scores": SCORES, "unknown": [False, True]}
    return Outputs.from_values({**values, "embedding": np.zeros((2, 4))})


def test_a_species_that_wins_no_slice_may_win_the_specimen() -> None:
    vote = specimen_votes(["a", "a"], outputs(), DESCRIPTION)["a"]
    assert (vote.species, vote.confidence) == ("lockhartia", pytest.approx(0.45))
    assert (vote.agreement, vote.slices, vote.unknown) == (0.0, 2, False)


@pytest.mark.parametrize("classes", [(), SPECIES[:2], (*SPECIES, "orbitoides"), SPECIES[::-1]])
def test_the_names_of_another_model_are_not_used(classes: tuple[str, ...]) -> None:
    assert specimen_votes(["a", "a"], outputs(), ModelDescription(classes))["a"].species in SPECIES[:2]


def test_each_named_specimen_gets_the_vote_of_its_own_slices() -> None:
    votes = specimen_votes(["a", ""], outputs(), DESCRIPTION)
    assert {name: (vote.species, vote.slices) for name, vote in votes.items()} == {"a": ("alveolina", 1)}


def test_a_vote_names_the_model_of_its_slices() -> None:
    of_model = replace(outputs(), model=("7" * 64,) * 2)
    assert specimen_votes(["a", "a"], of_model, DESCRIPTION)["a"].document()["model"] == "7" * 64
    assert "model" not in specimen_votes(["a", "a"], outputs(), DESCRIPTION)["a"].document()
