"""Intervals against simulated studies, and bounds against published values."""

from collections.abc import Iterator

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from components.evaluate.assessment import accuracy_of
from components.evaluate.statistics import (
    confusion_by_specimen,
    lower_bound,
    metric_interval,
    specimens_needed,
    vote_by_specimen,
)
from components.shared.metrics import macro_f1_of

STUDIES, SPECIMENS, SLICES, CORRELATION = 500, 36, 30, 0.7


def simulated_studies(truth: float, seed: int) -> Iterator[np.ndarray]:
    """Yields which slices are right, bool [SPECIMENS, SLICES], correlated within specimens (beta-binomial)."""
    rng = np.random.default_rng(seed)
    strength = (1 - CORRELATION) / CORRELATION
    for _ in range(STUDIES):
        chance = rng.beta(truth * strength, (1 - truth) * strength, size=SPECIMENS)
        yield rng.random((SPECIMENS, SLICES)) < chance[:, None]


def interval_of(right: np.ndarray) -> tuple[float, float]:
    """The interval of rows of slices, a row for each specimen."""
    labels, owner = np.zeros(right.size, dtype=np.int64), np.repeat(np.arange(len(right)).astype(str), right.shape[1])
    scores = np.stack([right, ~right], axis=-1).reshape(-1, 2).astype(np.float32)
    return metric_interval(accuracy_of, confusion_by_specimen(scores, labels, owner))


@pytest.mark.parametrize("truth", [0.8, 0.9, 0.95, 0.98])
def test_the_interval_covers_the_truth_where_slices_are_correlated(truth: float) -> None:
    studies = [interval_of(right) for right in simulated_studies(truth, seed=7)]
    covered = np.mean([low <= truth <= high for low, high in studies])
    assert 0.90 <= covered <= 0.98


@pytest.mark.parametrize("truth", [0.8, 0.9, 0.95, 0.98])
def test_an_interval_that_takes_slices_for_independent_covers_far_less(truth: float) -> None:
    studies = [proportion_confint(right.sum(), right.size, method="wilson") for right in simulated_studies(truth, 7)]
    assert np.mean([low <= truth <= high for low, high in studies]) < 0.4


def test_slices_without_correlation_give_nearly_the_interval_of_independent_ones() -> None:
    right = np.random.default_rng(3).random((200, 20)) < 0.9
    low, high = interval_of(right)
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.9 * 0.1 / right.size), rel=0.2)


def test_without_an_error_a_specimen_counts_as_one_slice() -> None:
    low, high = interval_of(np.ones((36, 30), dtype=bool))
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(36 / (36 + 4.12), abs=0.005)  # Wilson's with Student's t of 35 degrees


def test_one_specimen_says_nothing() -> None:
    assert interval_of(np.ones((1, 30), dtype=bool)) == (0.0, 1.0)


def test_the_interval_of_the_macro_f1_holds_it() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(3), 80)
    scores = (np.eye(3)[labels] * 2 + rng.normal(size=(240, 3))).astype(np.float32)
    tables = confusion_by_specimen(scores, labels, np.repeat(np.arange(24).astype(str), 10))
    low, high = metric_interval(macro_f1_of, tables)
    assert 0 < low < macro_f1_of(tables.sum(axis=0)) < high < 1


@pytest.mark.parametrize(("specimens", "bound"), [(20, 0.86), (35, 0.92), (97, 0.97), (15, 0.82)])
def test_specimens_without_an_error_prove_what_the_binomial_distribution_says(specimens: int, bound: float) -> None:
    assert lower_bound(specimens, specimens) == pytest.approx(bound, abs=0.006)


@pytest.mark.parametrize(
    ("right", "specimens", "claim", "needed"),
    [(0, 0, 0.95, 59), (15, 15, 0.95, 44), (59, 59, 0.95, 0), (58, 59, 0.95, 34), (10, 10, 1.0, None), (3, 9, 0.0, 0)],
)
def test_how_many_more_specimens_a_claim_needs(right: int, specimens: int, claim: float, needed: int | None) -> None:
    assert specimens_needed(right, specimens, claim) == needed
    if needed:
        assert lower_bound(right + needed, specimens + needed) >= claim
        assert lower_bound(right + needed - 1, specimens + needed - 1) < claim


def test_the_vote_counts_specimens() -> None:
    vote = vote_by_specimen(np.array([True] * 19 + [False]), 0.5)
    assert (vote.right, vote.specimens, vote.needed) == (19, 20, 0)
    assert vote.lower == pytest.approx(0.784, abs=0.001)  # exact one-sided bound of 19 of 20
