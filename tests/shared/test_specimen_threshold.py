"""Aggregation and thresholds of specimens: a document in the card and in the name of a dimension."""

import json
from typing import Any

import numpy as np
import pytest

from components.shared.contracts.specimen_threshold import AGGREGATIONS, MOST_CHARACTERS, SpecimenThreshold

FIELDS: dict[str, Any] = {
    "aggregation": "mean",
    "level": 1.0,
    "scale": 0.5,
    "lowest": -1.0,
    "highest": 3.0,
    "slices": (1, 4),
    "thresholds": (2.0, 1.0),
    "specimens": 48,
    "flagged_known": 0.05,
    "model_id": "5" * 64,
}
THRESHOLD = SpecimenThreshold(**FIELDS)


def test_the_name_of_a_dimension_is_read_as_it_was_written() -> None:
    assert SpecimenThreshold.from_name(THRESHOLD.to_name()) == THRESHOLD


@pytest.mark.parametrize(
    "change",
    [
        {"aggregation": "maximum"},
        {"thresholds": (2.0,)},
        {"slices": (2, 4)},
        {"slices": (1, 1)},
        {"slices": ()},
        {"scale": 0.0},
        {"highest": float("nan")},
        {"lowest": 4.0},
        {"flagged_known": 1.5},
        {"schema": "taxonflow.specimen-threshold/2"},
        {"own": 1},
    ],
)
def test_another_document_is_no_threshold(change: dict[str, Any]) -> None:
    document = json.loads(THRESHOLD.to_name())
    assert SpecimenThreshold.from_name(json.dumps(document | change)) is None


@pytest.mark.parametrize("name", [None, 1, "", "batch", "[" * 5000, "[]", " " * MOST_CHARACTERS + THRESHOLD.to_name()])
def test_other_names_of_a_dimension_are_no_threshold(name: object) -> None:
    assert SpecimenThreshold.from_name(name) is None


def test_thresholds_are_interpolated_in_the_logarithm_of_the_slices() -> None:
    assert [THRESHOLD.threshold(slices) for slices in (1, 2, 4, 50)] == pytest.approx([2.0, 1.5, 1.0, 1.0])
    assert THRESHOLD.score([2.0, 2.0]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mean", 1.0),
        ("median", 0.5),
        ("share_above", 0.25),
        ("upper_quarter", 3.0),
        ("lower_quarter", 0.0),
        ("squashed_mean", np.mean(1 / (1 + np.exp(-(np.array([0.0, 0.0, 1.0, 3.0]) - 1) / 0.5)))),
    ],
)
def test_each_aggregation_is_what_its_name_says(name: str, value: float) -> None:
    threshold = SpecimenThreshold(**FIELDS | {"aggregation": name})
    assert float(threshold.aggregate([0.0, 3.0, 0.0, 1.0])) == pytest.approx(value)
    assert set(AGGREGATIONS) == {"mean", "median", "share_above", "upper_quarter", "lower_quarter", "squashed_mean"}


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), float(np.finfo(np.float32).max)])
def test_one_broken_slice_does_not_outweigh_all_others(broken: float) -> None:
    assert THRESHOLD.score([broken] + [-1.0] * 49) < 0
    assert THRESHOLD.score([broken] * 4) == pytest.approx(2.0)
    assert THRESHOLD.score([-broken] * 4 if not np.isnan(broken) else [-1.0] * 4) == pytest.approx(-2.0)
