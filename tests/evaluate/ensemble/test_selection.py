"""Selection of the ensemble rule: the simplest one within one standard error of the best."""

import numpy as np
import pytest

from components.evaluate.ensemble.rules import ConfidenceSwitch, SoftVote
from components.evaluate.ensemble.selection import (
    SMALLEST_PROBABILITY,
    Candidate,
    accuracy_gap,
    apply_temperature,
    calibrate_selected,
    compare_rules,
    fit_temperature,
)
from components.shared.metrics import accuracy, calibration_error, confusion

CLASSES = ("a", "b", "c", "d")


def synthetic_logits(strength: float, seed: int, slices: int = 600, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(99).integers(classes, size=slices)
    noise = np.random.default_rng(seed).normal(size=(slices, classes))
    return (strength * np.eye(classes)[labels] + noise).astype(np.float32), labels


def selected_of(candidates: list[Candidate]) -> Candidate:
    (candidate,) = [candidate for candidate in candidates if candidate.is_selected]
    return candidate


def one_specimen_per_slice(labels: np.ndarray) -> np.ndarray:
    return np.arange(len(labels)).astype(str)


def logits_of(answers: np.ndarray, confidence: np.ndarray | float, classes: int = 4) -> np.ndarray:
    """Return logits of a network with these answers and confidences; the rest is equal for all other species."""
    probabilities = np.repeat(
        (1 - np.broadcast_to(confidence, answers.shape))[:, None] / (classes - 1), classes, axis=1
    )
    probabilities[np.arange(len(answers)), answers] = confidence
    return np.log(probabilities).astype(np.float32)


def test_probabilities_and_scores_sum_to_one() -> None:
    logits = {"a": synthetic_logits(2, 0)[0], "b": synthetic_logits(1, 1)[0]}
    for rule in (SoftVote({"a": 0.25, "b": 0.75}), ConfidenceSwitch("a", "b", (1, 2))):
        assert np.allclose(rule.probabilities(logits).sum(axis=1), 1)
        assert np.allclose(apply_temperature(rule.probabilities(logits), 2.5).sum(axis=1), 1, atol=1e-6)
        assert apply_temperature(rule.probabilities(logits), 1.0).min() >= SMALLEST_PROBABILITY / 2


def test_two_good_members_vote_and_a_bad_one_is_left_out() -> None:
    (good, labels), (also_good, _), (bad, _) = (synthetic_logits(s, n) for s, n in ((2, 0), (2, 1), (0, 2)))
    logits = {"good": good, "also_good": also_good, "bad": bad}
    candidate = selected_of(compare_rules(logits, labels, one_specimen_per_slice(labels)))
    assert set(candidate.rule.members) == {"good", "also_good"}
    assert candidate.rule.describe(CLASSES).startswith("mean of the best 2: ")
    assert candidate.accuracy > max(accuracy(confusion(values, labels)) for values in logits.values())


def test_one_member_alone_is_the_best_single() -> None:
    logits, labels = synthetic_logits(2, 0)
    candidates = compare_rules({"only": logits}, labels, one_specimen_per_slice(labels))
    assert [candidate.rule.describe(CLASSES) for candidate in candidates] == ["best single: only"]
    assert candidates[0].is_selected


def test_weights_of_the_soft_vote_have_the_lowest_log_loss() -> None:
    (good, labels), (fair, _), (bad, _) = (synthetic_logits(s, n, 3000) for s, n in ((2, 0), (1.7, 1), (0, 2)))
    logits = {"good": good, "fair": fair, "bad": bad}
    candidates = compare_rules(logits, labels, one_specimen_per_slice(labels))
    (candidate,) = [c for c in candidates if isinstance(c.rule, SoftVote) and len(set(c.rule.weights.values())) > 1]
    assert candidate.rule.weights["good"] > candidate.rule.weights["fair"]
    assert sum(candidate.rule.weights.values()) == pytest.approx(1)
    rows = np.arange(len(labels))
    for tilt in (0.9, 1.1):
        weights = {**candidate.rule.weights, "good": candidate.rule.weights["good"] * tilt}
        other = SoftVote({name: weight / sum(weights.values()) for name, weight in weights.items()})
        assert -np.log(other.probabilities(logits)[rows, labels]).mean() >= candidate.log_loss - 1e-6


def test_eleven_members_are_weighted_without_a_grid() -> None:
    logits = {f"m{number}": synthetic_logits(1 + number / 10, number)[0] for number in range(11)}
    labels = synthetic_logits(1, 0)[1]
    candidates = compare_rules(logits, labels, one_specimen_per_slice(labels))
    assert len([c for c in candidates if c.rule.describe(CLASSES).startswith("mean of the best")]) == 10
    assert selected_of(candidates).accuracy >= max(accuracy(confusion(values, labels)) for values in logits.values())


def test_the_switch_finds_the_weak_species_and_the_patch_network() -> None:
    labels = np.tile(np.arange(4), 150)
    main = np.where((labels == 3) & (np.arange(600) % 8 < 4), 2, labels)
    patch = np.where(labels < 2, 1 - labels, labels)
    logits = {"main": logits_of(main, 0.8), "patch": logits_of(patch, 0.9)}
    candidate = selected_of(compare_rules(logits, labels, one_specimen_per_slice(labels)))
    assert candidate.rule == ConfidenceSwitch("main", "patch", (2,))
    assert candidate.accuracy == 1.0
    assert "patch where main names c with less confidence" in candidate.rule.describe(CLASSES)


def test_the_switch_needs_a_weak_species_and_a_more_confident_patch() -> None:
    main = logits_of(np.array([2, 2, 1]), np.array([0.6, 0.9, 0.6]))
    patch = logits_of(np.array([3, 3, 3]), 0.8)
    probabilities = ConfidenceSwitch("main", "patch", (2,)).probabilities({"main": main, "patch": patch})
    assert probabilities.argmax(axis=1).tolist() == [3, 2, 1]


def test_a_gain_in_one_specimen_is_within_one_standard_error() -> None:
    labels = np.zeros(200, dtype=np.int64)
    specimens = np.repeat(np.arange(10).astype(str), 20)
    better, worse = np.ones(200, dtype=bool), np.repeat(np.arange(10) > 0, 20)
    gap, error = accuracy_gap(better, worse, specimens)
    assert gap == pytest.approx(0.1)
    assert error == pytest.approx(0.1)  # one of ten specimens: as large as the gap itself
    _, naive = accuracy_gap(better, worse, np.arange(len(labels)).astype(str))
    assert naive < 0.03


def test_the_simplest_rule_within_one_standard_error_is_selected() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, owner = np.repeat(rng.integers(4, size=30), 10), np.repeat(np.arange(30).astype(str), 10)
        logits = {
            name: (2 * np.eye(4)[labels] + np.repeat(rng.normal(size=(30, 4)), 10, 0) + rng.normal(size=(300, 4)))
            for name in "xyz"
        }
        candidates = compare_rules(logits, labels, owner)
        candidate = selected_of(candidates)
        best_single = next(c for c in candidates if len(c.rule.members) == 1)
        assert candidate.gap <= candidate.gap_error
        assert candidate.accuracy >= best_single.accuracy
        for simpler in candidates[: candidates.index(candidate)]:
            assert simpler.gap > simpler.gap_error or simpler.accuracy < best_single.accuracy


def test_the_temperature_corrects_overconfidence() -> None:
    logits, labels = synthetic_logits(2, 0, slices=4000)
    probabilities = SoftVote({"a": 1.0}).probabilities({"a": logits * 5})
    temperature = fit_temperature(probabilities, labels)
    assert temperature > 2
    errors = [calibration_error(apply_temperature(probabilities, value), labels) for value in (temperature, 1)]
    assert errors[0] < errors[1]


def test_the_ensemble_uses_the_selected_candidate() -> None:
    logits, labels = synthetic_logits(2, 0)
    candidates = compare_rules({"a": logits}, labels, one_specimen_per_slice(labels))
    ensemble = calibrate_selected(candidates, {"a": logits}, labels)
    assert ensemble.rule is selected_of(candidates).rule
    assert ensemble.members == ("a",)
