"""Paired tests between models on the same slices."""

import numpy as np
import pytest
from scipy.stats import binom

from components.evaluate.comparisons import compare_models, mcnemar_p, specimen_permutation_p


def test_mcnemar_is_the_binomial_test_of_the_slices_on_which_two_models_differ() -> None:
    first = np.array([True] * 90 + [False] * 10)
    second = np.array([True] * 88 + [False] * 3 + [True] * 9)
    assert mcnemar_p(first, second) == pytest.approx(2 * binom.cdf(2, 11, 0.5))


def test_all_swaps_of_few_specimens_are_tried() -> None:
    specimens = np.repeat(np.arange(6).astype(str), 10)
    first, second = np.ones(60, dtype=bool), np.zeros(60, dtype=bool)
    assert specimen_permutation_p(first, second, specimens, 0) == pytest.approx(2 / 2**6)


def test_two_models_that_answer_alike_do_not_differ() -> None:
    right = np.array([True, False] * 10)
    assert specimen_permutation_p(right, right, np.arange(20).astype(str), 0) == 1.0
    assert mcnemar_p(right, right) == 1.0


def test_one_specimen_alone_shows_no_difference() -> None:
    first = np.ones(20, dtype=bool)
    second = np.arange(20) < 15
    assert specimen_permutation_p(first, second, np.repeat(np.arange(4).astype(str), 5), 0) == 1.0


def test_correlated_slices_fool_the_test_by_slice_and_not_the_one_by_specimen() -> None:
    rng = np.random.default_rng(0)
    specimens = np.repeat(np.arange(20).astype(str), 30)
    alarms = np.zeros(2)
    for study in range(60):
        hits = [np.repeat(rng.random(20) < 0.8, 30) for _ in range(2)]  # equally good models, whole specimens fail
        alarms += [mcnemar_p(*hits) < 0.05, specimen_permutation_p(*hits, specimens, study) < 0.05]
    assert alarms[0] / 60 > 0.5
    assert alarms[1] / 60 < 0.15


def test_every_two_models_are_compared_and_corrected_for_it() -> None:
    rng = np.random.default_rng(1)
    specimens = np.repeat(np.arange(30).astype(str), 5)
    right = {name: rng.random(150) < share for name, share in (("a", 0.95), ("b", 0.9), ("c", 0.5))}
    found = {(c.first, c.second): c for c in compare_models(right, specimens, 0)}
    assert set(found) == {("a", "b"), ("a", "c"), ("b", "c")}
    plain = sorted(c.by_specimen for c in found.values())
    mended = sorted(c.by_specimen_corrected for c in found.values())
    assert mended[0] == pytest.approx(min(1, 3 * plain[0]))
    assert all(c.by_specimen_corrected >= c.by_specimen for c in found.values())
    assert found["a", "c"].by_specimen_corrected < 0.05
    assert found["a", "c"].difference == pytest.approx(right["a"].mean() - right["c"].mean())


def test_a_model_alone_is_compared_with_none() -> None:
    assert compare_models({"a": np.ones(3, dtype=bool)}, np.array(["x", "y", "z"]), 0) == []
