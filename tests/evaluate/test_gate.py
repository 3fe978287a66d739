"""The gate gives its reasons; missing values and values that are not numbers fail."""

from dataclasses import replace

import pytest

from components.evaluate.gate import Champion, Evidence, GateConfig, apply_gate
from components.shared.errors import BadConfigError

NAN = float("nan")
GOOD = Evidence(
    species=("a", "b"),
    accuracy=0.96,
    lower_bound=0.93,
    recall={"a": 0.9, "b": 1.0},
    test_specimens={"a": 4, "b": 5},
)


@pytest.mark.parametrize(
    ("change", "config", "passed", "reason"),
    [
        ({"accuracy": 0.9499}, {}, False, "The slice accuracy is 0.9499; 0.9500"),
        ({"accuracy": 0.94999}, {}, False, "The slice accuracy is 0.94999; 0.9500"),
        ({"accuracy": 0.95}, {}, True, "The slice accuracy is 0.9500; 0.9500"),
        ({"accuracy": NAN}, {}, False, "The accuracy is not a number."),
        ({"accuracy": float("inf")}, {}, False, "The accuracy is not a number."),
        ({"recall": {"a": NAN, "b": 1.0}}, {}, False, "No test slices of a."),
        ({"recall": {"a": 0.9}}, {}, False, "No test slices of b."),
        ({"recall": {}}, {}, False, "No test slices of a, b."),
        ({"species": ()}, {}, False, "No test slices of any species."),
        ({"recall": {"a": 0.6999, "b": 1.0}}, {}, False, "The recall of a is 0.6999; 0.7000"),
        ({"recall": {"a": 0.70, "b": 1.0}}, {}, True, "0.9500 is required"),
        ({"recall": {"a": 0.60, "b": 1.0}}, {"recall_by_species": {"a": 0.6}}, True, "0.9500 is required"),
        (
            {},
            {"recall_by_species": {"b": 1.0, "a": 0.95}},
            False,
            "The recall of a is 0.9000; 0.9500",
        ),
        ({}, {"recall_by_species": {"z": 0.5}}, False, "recall_by_species names z"),
        ({}, {"use_lower_bound": True}, False, "The lower bound of the 95 % interval of the slice accuracy is 0.9300"),
        ({"lower_bound": 0.95}, {"use_lower_bound": True}, True, "slice accuracy is 0.9500"),
        ({"lower_bound": NAN}, {"use_lower_bound": True}, False, "The lower bound of the accuracy is not a number."),
        ({}, {"fewest_test_specimens": 5}, False, "a has 4 test specimens; 5 are required."),
        ({}, {"fewest_test_specimens": 4}, True, "0.9500 is required"),
        ({"test_specimens": {}}, {}, False, "a has 0 test specimens; 1 are required."),
        ({"champion": Champion("m", 0.97, p=0.2)}, {"champion": "m"}, False, "The served model is better"),
        ({"champion": Champion("m", 0.96)}, {"champion": "m"}, True, "The served model has an accuracy of 0.9600"),
        (
            {"champion": Champion("m", 0.97)},
            {"champion": "m", "champion_margin": 0.02},
            True,
            "The served model has an accuracy of 0.9700",
        ),
        (
            {"champion": Champion("m", NAN, "no such file")},
            {"champion": "m"},
            False,
            "cannot be compared: no such file.",
        ),
        ({}, {"champion": "m"}, False, "The served model m cannot be compared: it was not measured."),
    ],
)
def test_the_gate_gives_its_reason(
    change: dict[str, object], config: dict[str, object], passed: bool, reason: str
) -> None:
    verdict = apply_gate(replace(GOOD, **change), GateConfig.parse(0.95, config))
    assert verdict.passed is passed
    assert reason in " ".join(verdict.reasons)


def test_all_reasons_are_given_at_once() -> None:
    bad = replace(GOOD, accuracy=0.5, recall={"a": 0.1, "b": 0.2}, test_specimens={"a": 3, "b": 3})
    verdict = apply_gate(bad, GateConfig(fewest_test_specimens=4))
    assert len(verdict.reasons) == 5


def test_a_species_of_few_test_specimens_has_no_floor_of_recall() -> None:
    weak = replace(GOOD, recall={"a": 0.0, "b": 1.0}, test_specimens={"a": 2, "b": 3})
    verdict = apply_gate(weak, GateConfig(recall_by_species={"a": 0.5}))
    note = "Recall not checked, since they have fewer than 3 test specimens: a (2)."
    assert (verdict.passed, verdict.reasons[1:]) == (True, (note,))
    checked = apply_gate(weak, GateConfig(specimens_for_floor=2))
    assert (checked.passed, checked.reasons) == (False, ("The recall of a is 0.0000; 0.7000 is required.",))


def test_species_without_a_required_recall_are_not_listed() -> None:
    verdict = apply_gate(replace(GOOD, test_specimens={"a": 1, "b": 1}), GateConfig(smallest_recall=0.0))
    assert len(verdict.reasons) == 1


@pytest.mark.parametrize("field", ["rare_species", "test_specimens"])
def test_a_reason_that_lists_thousands_of_species_is_short(field: str) -> None:
    names = {f"{'long' * 50} {number}": 1 for number in range(5000)}
    evidence = replace(GOOD, species=(*GOOD.species, *names), recall={**GOOD.recall, **dict.fromkeys(names, 1.0)})
    verdict = apply_gate(
        replace(evidence, **{field: {**GOOD.test_specimens, **names}}), GateConfig(fewest_test_specimens=0)
    )
    assert all(len(reason) < 1000 for reason in verdict.reasons)
    assert any("more." in reason for reason in verdict.reasons)


def test_the_accuracy_is_given_with_its_interval_and_origin() -> None:
    evidence = replace(GOOD, lower_bound=0.931, upper_bound=0.98, origin="Five models.")
    text = "The slice accuracy is 0.9600 (95 % interval over specimens 0.931 to 0.980); 0.9500 is required."
    assert apply_gate(evidence, GateConfig()).reasons == (text, "Five models.")


def test_the_champion_is_compared_on_the_slices_it_was_measured_on() -> None:
    better = Champion("m", 0.97, split="validation", new_accuracy=0.98)
    assert apply_gate(replace(GOOD, champion=better), GateConfig(champion="m")).passed
    worse = apply_gate(replace(GOOD, champion=replace(better, new_accuracy=0.9)), GateConfig(champion="m"))
    assert worse.reasons[0].startswith("The served model is better on this validation set: 0.9700, the new one 0.9000")


def test_the_published_model_with_a_recall_of_60_percent_fails() -> None:
    verdict = apply_gate(replace(GOOD, accuracy=0.9564, recall={"a": 0.60, "b": 0.99}), GateConfig())
    assert verdict.reasons == ("The recall of a is 0.6000; 0.7000 is required.",)


@pytest.mark.parametrize("threshold", [1.01, -0.1, NAN])
def test_a_threshold_outside_0_to_1_is_rejected(threshold: float) -> None:
    with pytest.raises(BadConfigError, match=f"parameter 'threshold' with value {threshold}: expected"):
        GateConfig.parse(threshold, {})


def test_conditions_of_zero_pass_every_measured_model() -> None:
    zero = replace(GOOD, accuracy=0.0, recall={"a": 0.0, "b": 0.0})
    assert apply_gate(zero, GateConfig(threshold=0.0, smallest_recall=0.0)).passed


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"smallest_recal": 0.7}, "'smallest_recal': expected one of smallest_recall, "),
        ({"threshold": 0.7}, "'threshold': expected one of smallest_recall, "),
        ({"smallest_recall": 1.2}, "'smallest_recall' with value 1.2"),
        ({"smallest_recall": NAN}, "'smallest_recall'"),
        ({"recall_by_species": {"a": 7}}, "'recall_by_species.a' with value 7"),
        ({"fewest_test_specimens": 1.5}, "'fewest_test_specimens'"),
    ],
)
def test_an_impossible_condition_is_rejected_by_name(fields: dict[str, object], text: str) -> None:
    with pytest.raises(BadConfigError, match=text):
        GateConfig.parse(0.95, fields)


def test_whole_numbers_sent_as_floats_are_accepted() -> None:
    assert GateConfig.parse(0.95, {"fewest_test_specimens": 3.0}).fewest_test_specimens == 3
