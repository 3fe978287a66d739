"""Intervals against simulated studies, bounds against published values, and paired tests between models."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import binom
from statsmodels.stats.proportion import proportion_confint

from components.evaluate.statistics import (
    compare_models,
    confusion_by_specimen,
    lower_bound,
    mcnemar_p,
    metric_interval,
    specimen_permutation_p,
    specimens_needed,
    vote_by_specimen,
)
from components.shared.metrics import accuracy, macro_f1

STUDIES, SPECIMENS, SLICES, CORRELATION = 500, 36, 30, 0.7


def simulated_studies(truth: float, seed: int) -> Iterator[np.ndarray]:
    """Yield whether each slice is correct, bool [SPECIMENS, SLICES], correlated within specimens (beta-binomial)."""
    rng = np.random.default_rng(seed)
    strength = (1 - CORRELATION) / CORRELATION
    for _ in range(STUDIES):
        chance = rng.beta(truth * strength, (1 - truth) * strength, size=SPECIMENS)
        yield rng.random((SPECIMENS, SLICES)) < chance[:, None]


def interval_of(correct: np.ndarray) -> tuple[float, float]:
    """Return the interval of the accuracy; each row contains the slices of one specimen."""
    labels, owner = (
        np.zeros(correct.size, dtype=np.int64),
        np.repeat(np.arange(len(correct)).astype(str), correct.shape[1]),
    )
    scores = np.stack([correct, ~correct], axis=-1).reshape(-1, 2).astype(np.float32)
    return metric_interval(accuracy, confusion_by_specimen(scores, labels, owner))


@pytest.mark.parametrize("truth", [0.8, 0.9, 0.95, 0.98])
def test_the_interval_covers_the_truth_with_correlated_slices(truth: float) -> None:
    studies = [interval_of(correct) for correct in simulated_studies(truth, seed=7)]
    coverage = np.mean([low <= truth <= high for low, high in studies])
    assert 0.90 <= coverage <= 0.98


@pytest.mark.parametrize("truth", [0.8, 0.9, 0.95, 0.98])
def test_an_interval_of_independent_slices_covers_far_less(truth: float) -> None:
    studies = [
        proportion_confint(correct.sum(), correct.size, method="wilson") for correct in simulated_studies(truth, 7)
    ]
    assert np.mean([low <= truth <= high for low, high in studies]) < 0.4


def test_uncorrelated_slices_give_nearly_the_interval_of_independent_ones() -> None:
    correct = np.random.default_rng(3).random((200, 20)) < 0.9
    low, high = interval_of(correct)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / correct.size), rel=0.2)


def test_without_an_error_a_specimen_counts_as_one_slice() -> None:
    low, high = interval_of(np.ones((36, 30), dtype=bool))
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(36 / (36 + 4.12), abs=0.005)  # Wilson's with Student's t of 35 degrees


def test_one_specimen_gives_the_widest_interval() -> None:
    assert interval_of(np.ones((1, 30), dtype=bool)) == (0.0, 1.0)


def test_the_interval_of_the_macro_f1_contains_it() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 80)
    scores = (np.eye(3)[labels] * 2 + rng.normal(size=(240, 3))).astype(np.float32)
    tables = confusion_by_specimen(scores, labels, np.repeat(np.arange(24).astype(str), 10))
    low, high = metric_interval(macro_f1, tables)
    assert 0 < low < macro_f1(tables.sum(axis=0)) < high < 1


@pytest.mark.parametrize(("specimens", "bound"), [(20, 0.86), (35, 0.92), (97, 0.97), (15, 0.82)])
def test_the_bound_without_an_error_is_that_of_the_binomial_distribution(specimens: int, bound: float) -> None:
    assert lower_bound(specimens, specimens) == pytest.approx(bound, abs=0.006)


@pytest.mark.parametrize(
    ("correct", "specimens", "target", "needed"),
    [(0, 0, 0.95, 59), (15, 15, 0.95, 44), (59, 59, 0.95, 0), (58, 59, 0.95, 34), (10, 10, 1.0, None), (3, 9, 0.0, 0)],
)
def test_the_number_of_further_specimens_for_a_target_is_exact(
    correct: int, specimens: int, target: float, needed: int | None
) -> None:
    assert specimens_needed(correct, specimens, target) == needed
    if needed:
        assert lower_bound(correct + needed, specimens + needed) >= target
        assert lower_bound(correct + needed - 1, specimens + needed - 1) < target


def test_the_vote_counts_specimens() -> None:
    vote = vote_by_specimen(np.array([True] * 19 + [False]), 0.5)
    assert (vote.correct, vote.specimens, vote.further_specimens) == (19, 20, 0)
    assert vote.lower == pytest.approx(0.784, abs=0.001)  # exact one-sided bound of 19 of 20


def test_mcnemar_is_the_binomial_test_of_slices_with_different_answers() -> None:
    first = np.array([True] * 90 + [False] * 10)
    second = np.array([True] * 88 + [False] * 3 + [True] * 9)
    assert mcnemar_p(first, second) == pytest.approx(2 * binom.cdf(2, 11, 0.5))


def test_all_swaps_of_few_specimens_are_tried() -> None:
    specimens = np.repeat(np.arange(6).astype(str), 10)
    first, second = np.ones(60, dtype=bool), np.zeros(60, dtype=bool)
    assert specimen_permutation_p(first, second, specimens, 0) == pytest.approx(2 / 2**6)


def test_models_with_the_same_answers_do_not_differ() -> None:
    correct = np.array([True, False] * 10)
    assert specimen_permutation_p(correct, correct, np.arange(20).astype(str), 0) == 1.0
    assert mcnemar_p(correct, correct) == 1.0


def test_a_difference_in_one_specimen_is_not_significant() -> None:
    first = np.ones(20, dtype=bool)
    second = np.arange(20) < 15
    assert specimen_permutation_p(first, second, np.repeat(np.arange(4).astype(str), 5), 0) == 1.0


def test_correlated_slices_mislead_only_the_test_by_slice() -> None:
    rng = np.random.default_rng(0)
    specimens = np.repeat(np.arange(20).astype(str), 30)
    alarms = np.zeros(2)
    for study in range(60):
        hits = [np.repeat(rng.random(20) < 0.8, 30) for _ in range(2)]  # equally good models, whole specimens fail
        alarms += [mcnemar_p(*hits) < 0.05, specimen_permutation_p(*hits, specimens, study) < 0.05]
    assert alarms[0] / 60 > 0.5
    assert alarms[1] / 60 < 0.15


def test_every_pair_is_compared_and_corrected_for_multiplicity() -> None:
    rng = np.random.default_rng(1)
    specimens = np.repeat(np.arange(30).astype(str), 5)
    correct = {name: rng.random(150) < share for name, share in (("a", 0.95), ("b", 0.9), ("c", 0.5))}
    comparisons = {(c.first, c.second): c for c in compare_models(correct, specimens, 0)}
    assert set(comparisons) == {("a", "b"), ("a", "c"), ("b", "c")}
    plain = sorted(c.by_specimen for c in comparisons.values())
    holm = sorted(c.by_specimen_corrected for c in comparisons.values())
    assert holm[0] == pytest.approx(min(1, 3 * plain[0]))
    assert all(c.by_specimen_corrected >= c.by_specimen for c in comparisons.values())
    assert comparisons["a", "c"].by_specimen_corrected < 0.05
    assert comparisons["a", "c"].difference == pytest.approx(correct["a"].mean() - correct["c"].mean())


def test_a_single_model_has_no_comparison() -> None:
    assert compare_models({"a": np.ones(3, dtype=bool)}, np.array(["x", "y", "z"]), 0) == []
