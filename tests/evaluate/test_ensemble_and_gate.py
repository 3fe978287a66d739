"""The ensemble is chosen on validation alone, and the gate fails closed."""

import numpy as np
import pytest

from components.evaluate.ensemble import SMALLEST_SHARE, calibrated, choose_ensemble, fit_temperature, vote
from components.evaluate.gate import judge
from components.shared.metrics import accuracy, calibration_error


def made_up_logits(strength: float, seed: int, slices: int = 600, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(99).integers(classes, size=slices)
    noise = np.random.default_rng(seed).normal(size=(slices, classes))
    return (strength * np.eye(classes)[labels] + noise).astype(np.float32), labels


def test_votes_and_scores_sum_to_one() -> None:
    first, _ = made_up_logits(2, 0)
    second, _ = made_up_logits(1, 1)
    shares = vote({"a": 0.25, "b": 0.75}, {"a": first, "b": second})
    assert np.allclose(shares.sum(axis=1), 1)
    assert np.allclose(calibrated(shares, 2.5).sum(axis=1), 1, atol=1e-6)
    assert calibrated(shares, 1.0).min() >= SMALLEST_SHARE / 2


def test_two_equally_good_members_vote_together_and_a_bad_one_is_left_out() -> None:
    (good, labels), (also_good, _), (bad, _) = (made_up_logits(s, n) for s, n in ((2, 0), (2, 1), (0, 2)))
    ensemble = choose_ensemble({"good": good, "also_good": also_good, "bad": bad}, labels)
    assert set(ensemble.weights) == {"good", "also_good"}
    assert sum(ensemble.weights.values()) == pytest.approx(1)
    single = max(accuracy(logits, labels) for logits in (good, also_good, bad))
    assert accuracy(ensemble.scores({"good": good, "also_good": also_good, "bad": bad}), labels) >= single


def test_one_member_alone_is_the_best_single() -> None:
    logits, labels = made_up_logits(2, 0)
    assert choose_ensemble({"only": logits}, labels).rule == "best single: only"


def test_the_temperature_mends_overconfidence() -> None:
    logits, labels = made_up_logits(2, 0, slices=4000)
    shares = vote({"a": 1.0}, {"a": logits * 5})
    temperature = fit_temperature(shares, labels)
    assert temperature > 2
    assert calibration_error(calibrated(shares, temperature), labels) < calibration_error(calibrated(shares, 1), labels)


def test_a_twentieth_of_the_validation_slices_is_below_the_threshold_of_unknown() -> None:
    logits, labels = made_up_logits(2, 0)
    ensemble = choose_ensemble({"a": logits}, labels)
    assert (ensemble.scores({"a": logits}).max(axis=1) < ensemble.unknown_below).mean() == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("accuracy", "recall", "passed", "reason"),
    [
        (0.9499, {"a": 0.9, "b": 1.0}, False, "reaches 0.9499 of the 0.9500 slice accuracy required"),
        (0.95, {"a": 0.9, "b": 1.0}, True, "reaches 0.9500; 0.9500 is required"),
        (float("nan"), {"a": 0.9, "b": 1.0}, False, "not a number"),
        (0.99, {"a": float("nan"), "b": 1.0}, False, "No test slices of a"),
        (0.99, {}, False, "No test slices of any species"),
    ],
)
def test_the_gate_gives_its_reason(accuracy: float, recall: dict[str, float], passed: bool, reason: str) -> None:
    verdict = judge(accuracy, recall, 0.95)
    assert verdict.passed is passed
    assert reason in " ".join(verdict.reasons)


def test_a_threshold_that_is_not_a_number_refuses() -> None:
    assert not judge(0.99, {"a": 1.0}, float("nan")).passed
