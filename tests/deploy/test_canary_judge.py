"""The canary judge: how often it errs, in seeded simulations of whole roll-outs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from components.deploy.canary.sequential_test import BOUND, BUDGET, TOLERATED, Answer, CanaryJudge, evidence

ROLL_OUTS = 1000
Signs = NDArray[np.int8]


def exceeding(signs: Signs, criterion: str) -> NDArray[np.bool_]:
    """Returns for each roll-out whether the evidence exceeds the bound after any of its pairs."""
    worse, better, alike = (np.cumsum(signs == sign, axis=1) for sign in (1, -1, 0))
    parts = [slice(start, start + 100) for start in range(0, len(signs), 100)]  # whole, it would need a gigabyte
    found = [(evidence(worse[p], better[p], alike[p], TOLERATED[criterion]) > BOUND).any(axis=1) for p in parts]
    return np.concatenate(found)


def signs_of(stable: float, canary: float, seed: int) -> Signs:
    """Draws signs of models that fail independently of one another with these probabilities."""
    draw = np.random.default_rng(seed).random((2, ROLL_OUTS, BUDGET))
    return (draw[1] < canary).astype(np.int8) - (draw[0] < stable).astype(np.int8)


def latency_signs(ratio: float, seed: int, pairs: int = BUDGET) -> Signs:
    """Draws signs of log-normal times, one of twenty ten times as long, the canary's `ratio` times the stable's."""
    generator = np.random.default_rng(seed)
    logarithms = generator.normal(0, 0.3, (2, ROLL_OUTS, pairs))
    logarithms += np.log(10) * (generator.random(logarithms.shape) < 0.05)
    return np.where(logarithms[1] + np.log(ratio) > logarithms[0] + np.log(1.5), 1, -1).astype(np.int8)


@pytest.mark.parametrize("accuracy", [0.85, 0.97])
def test_an_equal_model_is_rolled_back_in_at_most_one_of_a_hundred_roll_outs(accuracy: float) -> None:
    worse = exceeding(signs_of(0.01, 0.01, 1), "errors")
    worse |= exceeding(signs_of(1 - accuracy, 1 - accuracy, 2), "agreement")
    worse |= exceeding(latency_signs(1.0, 3), "latency")
    assert worse.mean() <= 0.01


@pytest.mark.parametrize("errors", [0.01, 0.04])
def test_five_times_the_errors_are_caught_within_the_budget(errors: float) -> None:
    assert exceeding(signs_of(errors, 5 * errors, 4), "errors").mean() >= 0.95


@pytest.mark.parametrize("accuracy", [0.95, 0.99])
def test_five_points_less_agreement_are_caught_within_the_budget(accuracy: float) -> None:
    assert exceeding(signs_of(1 - accuracy, 1.05 - accuracy, 5), "agreement").mean() >= 0.95


def test_a_model_of_twice_the_latency_is_caught_in_a_tenth_of_the_budget() -> None:
    assert exceeding(latency_signs(2.0, 6, BUDGET // 10), "latency").mean() >= 0.95


def test_stragglers_alone_are_not_taken_for_latency() -> None:
    judge = CanaryJudge(1.5)
    for number in range(BUDGET):
        judge.add(Answer("a", 0.01), Answer("a", 9.0 if number % 4 == 0 else 0.01), None)
    assert judge.complaints() == []


def test_a_canary_that_answers_nothing_is_worse_after_a_few_pairs() -> None:
    judge = CanaryJudge(1.5)
    for _ in range(20):
        judge.add(Answer("a", 0.01), Answer(None, 0.01, "503"), "a")
    (complaint,) = judge.complaints()
    assert complaint.startswith("errors: the canary did worse in ")
    assert judge.tallies["latency"].pairs == judge.tallies["agreement"].pairs == 0


def test_the_judge_counts_as_the_simulation_does() -> None:
    draw = np.random.default_rng(7).random((2, 400)) < [[0.05], [0.15]]
    judge = CanaryJudge(1.5)
    for stable, canary in draw.T:
        judge.add(Answer("b" if stable else "a", 1.0), Answer("b" if canary else "a", 1.0), "a")
    signs = draw[1].astype(int) - draw[0].astype(int)
    counts = [int((signs == sign).sum()) for sign in (1, -1, 0)]
    assert judge.evidence_of("agreement") == pytest.approx(float(evidence(*counts, TOLERATED["agreement"])))


def test_a_slice_that_was_counted_before_adds_nothing_to_the_agreement() -> None:
    judge = CanaryJudge(1.5)
    for _ in range(500):
        judge.add(Answer("a", 1.0), Answer("b", 1.0), None)
    assert judge.complaints() == []


def test_before_the_first_pair_there_is_no_evidence() -> None:
    assert CanaryJudge(1.5).evidence_of("errors") == pytest.approx(1.0)
