"""Error rates of the sequential test in seeded simulations of whole rollouts."""

import numpy as np
import pytest
from numpy.typing import NDArray

from components.deploy.canary.sequential_test import BOUND, PAIRS, TOLERANCES, ProbeAnswer, SequentialTest, evidence

ROLLOUTS = 1000
Signs = NDArray[np.int8]


def violations(signs: Signs, criterion: str) -> NDArray[np.bool_]:
    """Return for each rollout whether the evidence exceeds the bound after any of its pairs."""
    worse, better, alike = (np.cumsum(signs == sign, axis=1) for sign in (1, -1, 0))
    parts = [slice(start, start + 100) for start in range(0, len(signs), 100)]  # all at once need a gigabyte
    exceeds = [(evidence(worse[p], better[p], alike[p], TOLERANCES[criterion]) > BOUND).any(axis=1) for p in parts]
    return np.concatenate(exceeds)


def signs_of(stable: float, canary: float, seed: int) -> Signs:
    """Draw signs of models that fail independently with these probabilities."""
    draw = np.random.default_rng(seed).random((2, ROLLOUTS, PAIRS))
    return (draw[1] < canary).astype(np.int8) - (draw[0] < stable).astype(np.int8)


def latency_signs(ratio: float, seed: int, pairs: int = PAIRS) -> Signs:
    """Draw signs of log-normal times, one of twenty multiplied by 10, the canary's `ratio` times the stable's."""
    generator = np.random.default_rng(seed)
    logarithms = generator.normal(0, 0.3, (2, ROLLOUTS, pairs))
    logarithms += np.log(10) * (generator.random(logarithms.shape) < 0.05)
    return np.where(logarithms[1] + np.log(ratio) > logarithms[0] + np.log(1.5), 1, -1).astype(np.int8)


@pytest.mark.parametrize("accuracy", [0.85, 0.97])
def test_an_equal_model_is_rolled_back_in_at_most_one_percent(accuracy: float) -> None:
    worse = violations(signs_of(0.01, 0.01, 1), "errors")
    worse |= violations(signs_of(1 - accuracy, 1 - accuracy, 2), "agreement")
    worse |= violations(latency_signs(1.0, 3), "latency")
    assert worse.mean() <= 0.01


@pytest.mark.parametrize("errors", [0.01, 0.04])
def test_five_times_the_errors_are_detected_within_the_pairs(errors: float) -> None:
    assert violations(signs_of(errors, 5 * errors, 4), "errors").mean() >= 0.95


@pytest.mark.parametrize("accuracy", [0.95, 0.99])
def test_five_points_less_agreement_are_detected_within_the_pairs(accuracy: float) -> None:
    assert violations(signs_of(1 - accuracy, 1.05 - accuracy, 5), "agreement").mean() >= 0.95


def test_twice_the_latency_is_detected_in_a_tenth_of_the_pairs() -> None:
    assert violations(latency_signs(2.0, 6, PAIRS // 10), "latency").mean() >= 0.95


def test_single_slow_answers_are_no_latency_violation() -> None:
    test = SequentialTest(1.5)
    for number in range(PAIRS):
        test.add(ProbeAnswer("a", 0.01), ProbeAnswer("a", 9.0 if number % 4 == 0 else 0.01), None)
    assert test.violations() == []


def test_a_canary_without_answers_is_worse_after_a_few_pairs() -> None:
    test = SequentialTest(1.5)
    for _ in range(20):
        test.add(ProbeAnswer("a", 0.01), ProbeAnswer(None, 0.01, "503"), "a")
    (violation,) = test.violations()
    assert violation.startswith("errors: the canary did worse in ")
    assert test.tallies["latency"].pairs == test.tallies["agreement"].pairs == 0


def test_the_judge_counts_as_the_simulation_does() -> None:
    draw = np.random.default_rng(7).random((2, 400)) < [[0.05], [0.15]]
    test = SequentialTest(1.5)
    for stable, canary in draw.T:
        test.add(ProbeAnswer("b" if stable else "a", 1.0), ProbeAnswer("b" if canary else "a", 1.0), "a")
    signs = draw[1].astype(int) - draw[0].astype(int)
    counts = [int((signs == sign).sum()) for sign in (1, -1, 0)]
    assert test.evidence_of("agreement") == pytest.approx(float(evidence(*counts, TOLERANCES["agreement"])))


def test_a_repeated_slice_does_not_count_for_the_agreement() -> None:
    test = SequentialTest(1.5)
    for _ in range(500):
        test.add(ProbeAnswer("a", 1.0), ProbeAnswer("b", 1.0), None)
    assert test.violations() == []


def test_the_evidence_is_1_before_the_first_pair() -> None:
    assert SequentialTest(1.5).evidence_of("errors") == pytest.approx(1.0)
