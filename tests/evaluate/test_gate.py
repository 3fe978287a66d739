"""The gate gives its reasons, and whatever is missing or not a number refuses."""

from dataclasses import replace

import pytest

from components.evaluate.gate import Champion, Evidence, GateConfig, judge
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
        ({"accuracy": 0.9499}, {}, False, "The ensemble reaches 0.9499 of the 0.9500 slice accuracy required."),
        ({"accuracy": 0.94999}, {}, False, "The ensemble reaches 0.94999 of the 0.9500 slice accuracy required."),
        ({"accuracy": 0.95}, {}, True, "The ensemble reaches 0.9500; 0.9500 is required."),
        ({"accuracy": NAN}, {}, False, "The accuracy is not a number."),
        ({"accuracy": float("inf")}, {}, False, "The accuracy is not a number."),
        ({"recall": {"a": NAN, "b": 1.0}}, {}, False, "No test slices of a."),
        ({"recall": {"a": 0.9}}, {}, False, "No test slices of b."),
        ({"recall": {}}, {}, False, "No test slices of a, b."),
        ({"species": ()}, {}, False, "No test slices of any species."),
        ({"recall": {"a": 0.6999, "b": 1.0}}, {}, False, "0.6999 of the test slices of a are recognised; 0.7000"),
        ({"recall": {"a": 0.70, "b": 1.0}}, {}, True, "0.9500 is required"),
        ({"recall": {"a": 0.60, "b": 1.0}}, {"recall_by_species": {"a": 0.6}}, True, "0.9500 is required"),
        (
            {},
            {"recall_by_species": {"b": 1.0, "a": 0.95}},
            False,
            "0.9000 of the test slices of a are recognised; 0.9500",
        ),
        ({}, {"recall_by_species": {"z": 0.5}}, False, "A floor is set for z, which the model does not know."),
        ({}, {"use_lower_bound": True}, False, "0.9300 of the 0.9500 slice accuracy required, at the lower bound"),
        ({"lower_bound": 0.95}, {"use_lower_bound": True}, True, "The ensemble reaches 0.9500"),
        ({"lower_bound": NAN}, {"use_lower_bound": True}, False, "The lower bound of the accuracy is not a number."),
        ({}, {"fewest_test_specimens": 5}, False, "a has 4 test specimens; 5 are required."),
        ({}, {"fewest_test_specimens": 4}, True, "0.9500 is required"),
        ({"test_specimens": {}}, {}, False, "a has 0 test specimens; 1 are required."),
        ({"champion": Champion("m", 0.97, p=0.2)}, {"champion": "m"}, False, "The model now served is better"),
        ({"champion": Champion("m", 0.96)}, {"champion": "m"}, True, "The model now served reaches 0.9600"),
        ({"champion": Champion("m", 0.97)}, {"champion": "m", "champion_margin": 0.02}, True, "now served reaches"),
        (
            {"champion": Champion("m", NAN, "no such file")},
            {"champion": "m"},
            False,
            "cannot be compared: no such file.",
        ),
        ({}, {"champion": "m"}, False, "The model now served, m, cannot be compared: it was not asked."),
    ],
)
def test_the_gate_gives_its_reason(
    change: dict[str, object], config: dict[str, object], passed: bool, reason: str
) -> None:
    verdict = judge(replace(GOOD, **change), GateConfig.parse(0.95, config))
    assert verdict.passed is passed
    assert reason in " ".join(verdict.reasons)


def test_all_reasons_are_given_at_once() -> None:
    bad = replace(GOOD, accuracy=0.5, recall={"a": 0.1, "b": 0.2}, test_specimens={"a": 1, "b": 1})
    verdict = judge(bad, GateConfig(fewest_test_specimens=3))
    assert len(verdict.reasons) == 5


def test_the_published_model_with_a_recall_of_sixty_percent_is_refused() -> None:
    verdict = judge(replace(GOOD, accuracy=0.9564, recall={"a": 0.60, "b": 0.99}), GateConfig())
    assert verdict.reasons == ("0.6000 of the test slices of a are recognised; 0.7000 is required.",)


@pytest.mark.parametrize("threshold", [1.01, -0.1, NAN])
def test_a_threshold_that_is_no_share_is_refused(threshold: float) -> None:
    with pytest.raises(BadConfigError, match=f"parameter 'threshold' with value {threshold}: expected"):
        GateConfig.parse(threshold, {})


def test_a_threshold_and_floor_of_nothing_let_everything_measured_through() -> None:
    nothing = replace(GOOD, accuracy=0.0, recall={"a": 0.0, "b": 0.0})
    assert judge(nothing, GateConfig(threshold=0.0, smallest_recall=0.0)).passed


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"smallest_recal": 0.7}, "'smallest_recal': expected one of smallest_recall, "),
        ({"threshold": 0.7}, "'threshold': expected one of smallest_recall, "),
        ({"smallest_recall": 1.2}, "'smallest_recall' with value 1.2"),
        ({"smallest_recall": NAN}, "'smallest_recall'"),
        ({"recall_by_species": {"a": 7}}, "'recall_by_species.a' with value 7"),
        ({"fewest_test_specimens": 1.5}, "'fewest_test_specimens'"),
    ],
)
def test_an_impossible_condition_is_refused_by_name(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfigError, match=words):
        GateConfig.parse(0.95, fields)


def test_numbers_that_the_ui_sends_as_floats_are_taken() -> None:
    assert GateConfig.parse(0.95, {"fewest_test_specimens": 3.0}).fewest_test_specimens == 3
