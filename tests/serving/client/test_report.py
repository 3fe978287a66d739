"""Reports of predictions: what they show of names, models and votes."""

import csv
import io
import json

from serving.client import SlicePrediction
from serving.client.report import SliceResult, render


def test_names_in_brackets_are_shown_as_they_are() -> None:
    prediction = SlicePrediction("Fallotia [cf]", 1.0, (1.0,), False, ())
    rejection = SliceResult("b.png", None, "no [/such] image")
    table = render([SliceResult("scan[old].png", prediction), rejection], "table", ())
    assert all(name in table for name in ("scan[old].png", "Fallotia [cf]", "no [/such] image"))


def results_of_two_models() -> list[SliceResult]:
    """Return slices of one specimen from two models with different species, and a rejected one."""
    first = SlicePrediction("a", 1.0, (1.0, 0.0), False, (0.0,), 0.1, "1" * 64)
    second = SlicePrediction("c", 0.5, (0.2, 0.3, 0.5), False, (0.0,), 0.2, "2" * 64)
    rows = [SliceResult(f"{number}.png", one, specimen="s") for number, one in enumerate((first, second, first))]
    return [*rows, SliceResult("b.png", None, "no image", specimen="s")]


def test_each_model_that_predicted_a_specimen_has_its_own_vote() -> None:
    document = json.loads(render(results_of_two_models(), "json", ("a", "b")))
    votes = [(vote["specimen"], vote["model"], vote["species"], vote["slices"]) for vote in document["specimens"]]
    assert votes == [("s", "1" * 12, "a", 2), ("s", "2" * 12, "c", 1)]


def test_every_report_names_the_model_of_each_slice() -> None:
    models = ["1" * 12, "2" * 12, "1" * 12]
    rows = json.loads(render(results_of_two_models(), "json", ()))["slices"]
    assert [row.get("model") for row in rows] == [*models, None]
    table = list(csv.DictReader(io.StringIO(render(results_of_two_models(), "csv", ()))))
    assert [row["model"] for row in table] == [*models, "", "1" * 12, "2" * 12]
    text = render(results_of_two_models(), "table", ())
    assert (text.count("1" * 12), text.count("2" * 12), text.count("1" * 13)) == (3, 2, 0)
