"""Reports of predictions: what they show of names, models and votes."""

import csv
import io
import json

import pytest

from serving.client import SlicePrediction
from serving.client.report import SliceResult, render
from serving.votes import ModelDescription
from tests.serving.conftest import SPECIMEN_THRESHOLD


def test_names_in_brackets_are_shown_as_they_are() -> None:
    prediction = SlicePrediction("Fallotia [cf]", 1.0, (1.0,), False, ())
    rejection = SliceResult("b.png", None, "no [/such] image")
    table = render([SliceResult("scan[old].png", prediction), rejection], "table", ModelDescription())
    assert all(name in table for name in ("scan[old].png", "Fallotia [cf]", "no [/such] image"))


def results_of_two_models() -> list[SliceResult]:
    """Return slices of one specimen from two models with different species, and a rejected one."""
    first = SlicePrediction("a", 1.0, (1.0, 0.0), False, (0.0,), 0.1, "1" * 64)
    second = SlicePrediction("c", 0.5, (0.2, 0.3, 0.5), False, (0.0,), 0.2, "2" * 64)
    rows = [SliceResult(f"{number}.png", one, specimen="s") for number, one in enumerate((first, second, first))]
    return [*rows, SliceResult("b.png", None, "no image", specimen="s")]


def test_each_model_that_predicted_a_specimen_has_its_own_vote() -> None:
    document = json.loads(render(results_of_two_models(), "json", ModelDescription(("a", "b"))))
    votes = [(vote["specimen"], vote["model"], vote["species"], vote["slices"]) for vote in document["specimens"]]
    assert votes == [("s", "1" * 64, "a", 2), ("s", "2" * 64, "c", 1)]


def test_every_report_names_the_model_of_each_slice() -> None:
    models = ["1" * 64, "2" * 64, "1" * 64]
    rows = json.loads(render(results_of_two_models(), "json", ModelDescription()))["slices"]
    assert [row.get("model") for row in rows] == [*models, None]
    table = list(csv.DictReader(io.StringIO(render(results_of_two_models(), "csv", ModelDescription()))))
    assert [row["model"] for row in table] == [*models, "", "1" * 64, "2" * 64]
    text = render(results_of_two_models(), "table", ModelDescription())
    assert (text.count("1" * 12), text.count("2" * 12), text.count("1" * 13)) == (3, 2, 0)


def test_the_name_of_a_file_stays_on_one_line_of_the_table() -> None:
    name = "/scans/a folder with many words/" + "specimen-of-the-year-" * 5 + "01.nii.gz"
    rejection = SliceResult(name, None, "a reason of several words " * 5, specimen="s", plane="axis 0")
    prediction = SlicePrediction("Alveolina", 0.5, (0.5,), True, (0.0,), 0.1, "1" * 64)
    text = render([rejection, SliceResult(name, prediction, specimen=name)], "table", ModelDescription())
    assert text.count(f" {name} ") == 3
    assert "a reason of several" in text
    assert text.count("1" * 12) == 2


def test_a_specimen_of_unknown_species_is_marked_in_every_report() -> None:
    model = "1" * 64
    slices = [SlicePrediction("a", 0.9, (0.9, 0.1), False, (0.0,), 0.44, model) for _ in range(4)]
    results = [SliceResult(f"{number}.png", prediction, specimen="s") for number, prediction in enumerate(slices)]
    description = ModelDescription(("a", "b"), {model: SPECIMEN_THRESHOLD.of_model(model)})
    (vote,) = json.loads(render(results, "json", description))["specimens"]
    assert (vote["unknown"], vote["unknown_score"]) == (True, pytest.approx(0.03))
    row = list(csv.DictReader(io.StringIO(render(results, "csv", description))))[-1]
    assert (row["unknown"], row["unknown_score"]) == ("true", "0.03")
    assert render(results, "table", description).count("unknown species?") == 1
    assert "unknown species?" not in render(results, "table", ModelDescription())
