"""The ensemble is chosen on validation alone, the simplest that is about as good as the best."""

import numpy as np
import pytest

from components.evaluate.ensemble.calibration import calibrated, choose_ensemble, fit_temperature
from components.evaluate.ensemble.rules import ConfidenceSwitch, SoftVote
from components.evaluate.ensemble.selection import SMALLEST_SHARE, Candidate, compare_rules, specimen_gap
from components.shared.metrics import accuracy, calibration_error

CLASSES = ("a", "b", "c", "d")


def made_up_logits(strength: float, seed: int, slices: int = 600, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    labels = np.random.default_rng(99).integers(classes, size=slices)
    noise = np.random.default_rng(seed).normal(size=(slices, classes))
    return (strength * np.eye(classes)[labels] + noise).astype(np.float32), labels


def chosen(candidates: list[Candidate]) -> Candidate:
    (found,) = [candidate for candidate in candidates if candidate.chosen]
    return found


def each_its_own_specimen(labels: np.ndarray) -> np.ndarray:
    return np.arange(len(labels)).astype(str)


def logits_of(answers: np.ndarray, confidence: np.ndarray | float, classes: int = 4) -> np.ndarray:
    """Logits of a network that gives each answer with a confidence and shares the rest out."""
    shares = np.repeat((1 - np.broadcast_to(confidence, answers.shape))[:, None] / (classes - 1), classes, axis=1)
    shares[np.arange(len(answers)), answers] = confidence
    return np.log(shares).astype(np.float32)


def test_votes_and_scores_sum_to_one() -> None:
    logits = {"a": made_up_logits(2, 0)[0], "b": made_up_logits(1, 1)[0]}
    for rule in (SoftVote({"a": 0.25, "b": 0.75}), ConfidenceSwitch("a", "b", (1, 2))):
        assert np.allclose(rule.shares(logits).sum(axis=1), 1)
        assert np.allclose(calibrated(rule.shares(logits), 2.5).sum(axis=1), 1, atol=1e-6)
        assert calibrated(rule.shares(logits), 1.0).min() >= SMALLEST_SHARE / 2


def test_two_equally_good_members_vote_together_and_a_bad_one_is_left_out() -> None:
    (good, labels), (also_good, _), (bad, _) = (made_up_logits(s, n) for s, n in ((2, 0), (2, 1), (0, 2)))
    logits = {"good": good, "also_good": also_good, "bad": bad}
    found = chosen(compare_rules(logits, labels, each_its_own_specimen(labels)))
    assert set(found.rule.members) == {"good", "also_good"}
    assert found.rule.words(CLASSES).startswith("mean of the best 2: ")
    assert found.accuracy > max(accuracy(values, labels) for values in logits.values())


def test_one_member_alone_is_the_best_single() -> None:
    logits, labels = made_up_logits(2, 0)
    candidates = compare_rules({"only": logits}, labels, each_its_own_specimen(labels))
    assert [candidate.rule.words(CLASSES) for candidate in candidates] == ["best single: only"]
    assert candidates[0].chosen


def test_members_of_unlike_merit_get_unlike_weights_of_the_lowest_log_loss() -> None:
    (good, labels), (fair, _), (bad, _) = (made_up_logits(s, n, 3000) for s, n in ((2, 0), (1.7, 1), (0, 2)))
    logits = {"good": good, "fair": fair, "bad": bad}
    candidates = compare_rules(logits, labels, each_its_own_specimen(labels))
    (found,) = [c for c in candidates if isinstance(c.rule, SoftVote) and len(set(c.rule.weights.values())) > 1]
    assert found.rule.weights["good"] > found.rule.weights["fair"]
    assert sum(found.rule.weights.values()) == pytest.approx(1)
    rows = np.arange(len(labels))
    for tilt in (0.9, 1.1):
        weights = {**found.rule.weights, "good": found.rule.weights["good"] * tilt}
        other = SoftVote({name: weight / sum(weights.values()) for name, weight in weights.items()})
        assert -np.log(other.shares(logits)[rows, labels]).mean() >= found.log_loss - 1e-6


def test_eleven_members_are_weighed_without_a_grid() -> None:
    logits = {f"m{number}": made_up_logits(1 + number / 10, number)[0] for number in range(11)}
    labels = made_up_logits(1, 0)[1]
    candidates = compare_rules(logits, labels, each_its_own_specimen(labels))
    assert len([c for c in candidates if c.rule.words(CLASSES).startswith("mean of the best")]) == 10
    assert chosen(candidates).accuracy >= max(accuracy(values, labels) for values in logits.values())


def test_the_switch_finds_the_weak_species_and_who_mends_them() -> None:
    labels = np.tile(np.arange(4), 150)
    main = np.where((labels == 3) & (np.arange(600) % 8 < 4), 2, labels)
    patch = np.where(labels < 2, 1 - labels, labels)
    logits = {"main": logits_of(main, 0.8), "patch": logits_of(patch, 0.9)}
    found = chosen(compare_rules(logits, labels, each_its_own_specimen(labels)))
    assert found.rule == ConfidenceSwitch("main", "patch", (2,))
    assert found.accuracy == 1.0
    assert "patch where main says c with less confidence" in found.rule.words(CLASSES)


def test_the_switch_believes_the_patch_only_in_weak_species_and_only_if_it_is_surer() -> None:
    main = logits_of(np.array([2, 2, 1]), np.array([0.6, 0.9, 0.6]))
    patch = logits_of(np.array([3, 3, 3]), 0.8)
    shares = ConfidenceSwitch("main", "patch", (2,)).shares({"main": main, "patch": patch})
    assert shares.argmax(axis=1).tolist() == [3, 2, 1]


def test_a_gain_in_one_specimen_alone_is_within_one_standard_error() -> None:
    labels = np.zeros(200, dtype=np.int64)
    specimens = np.repeat(np.arange(10).astype(str), 20)
    better, worse = np.ones(200, dtype=bool), np.repeat(np.arange(10) > 0, 20)
    gap, error = specimen_gap(better, worse, specimens)
    assert gap == pytest.approx(0.1)
    assert error == pytest.approx(0.1)  # one of ten specimens: as large as the gap itself
    _, naive = specimen_gap(better, worse, np.arange(len(labels)).astype(str))
    assert naive < 0.03


def test_the_simplest_within_one_standard_error_is_taken_and_never_one_below_the_best_single() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels, owner = np.repeat(rng.integers(4, size=30), 10), np.repeat(np.arange(30).astype(str), 10)
        logits = {
            name: (2 * np.eye(4)[labels] + np.repeat(rng.normal(size=(30, 4)), 10, 0) + rng.normal(size=(300, 4)))
            for name in "xyz"
        }
        candidates = compare_rules(logits, labels, owner)
        found = chosen(candidates)
        best_single = next(c for c in candidates if len(c.rule.members) == 1)
        assert found.behind <= found.error
        assert found.accuracy >= best_single.accuracy
        for simpler in candidates[: candidates.index(found)]:
            assert simpler.behind > simpler.error or simpler.accuracy < best_single.accuracy


def test_the_temperature_mends_overconfidence() -> None:
    logits, labels = made_up_logits(2, 0, slices=4000)
    shares = SoftVote({"a": 1.0}).shares({"a": logits * 5})
    temperature = fit_temperature(shares, labels)
    assert temperature > 2
    assert calibration_error(calibrated(shares, temperature), labels) < calibration_error(calibrated(shares, 1), labels)


def test_the_ensemble_takes_the_chosen_candidate() -> None:
    logits, labels = made_up_logits(2, 0)
    candidates = compare_rules({"a": logits}, labels, each_its_own_specimen(labels))
    ensemble = choose_ensemble(candidates, {"a": logits}, labels)
    assert ensemble.rule is chosen(candidates).rule
    assert ensemble.members == ("a",)
