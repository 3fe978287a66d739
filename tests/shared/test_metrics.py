"""Metrics against values worked out by hand, and the interval against simulated studies."""

import numpy as np
import pytest

from components.shared import metrics

SCORES = np.array([[0.45, 0.1, 0.45], [0.1, 0.5, 0.4], [0.3, 0.2, 0.5], [0.2, 0.7, 0.1]], dtype=np.float32)
LABELS = np.array([0, 2, 2, 1])
SPECIMENS = np.array(["a", "b", "b", "c"])


def test_accuracy_top_and_confusion_are_those_counted_by_hand() -> None:
    assert metrics.accuracy(SCORES, LABELS) == 0.75
    assert metrics.top_accuracy(SCORES, LABELS, places=2) == 1.0
    assert metrics.confusion(SCORES, LABELS).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_macro_f1_weighs_species_not_slices() -> None:
    assert metrics.macro_f1(SCORES, LABELS) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_recall_of_a_species_without_slices_is_not_a_number() -> None:
    recall = metrics.recall_by_species(SCORES, np.array([0, 0, 0, 1]))
    assert recall[:2].tolist() == [1 / 3, 1.0]
    assert np.isnan(recall[2])


def test_specimens_are_judged_by_their_mean_score() -> None:
    assert metrics.specimen_accuracy(SCORES, LABELS, SPECIMENS) == 1.0


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    scores = np.tile(np.array([[0.8, 0.2]], dtype=np.float32), (10, 1))
    assert metrics.calibration_error(scores, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0, abs=1e-6)
    assert metrics.calibration_error(scores, np.zeros(10, dtype=np.int64)) == pytest.approx(0.2, abs=1e-6)


def test_the_area_under_the_curve_needs_every_species() -> None:
    assert metrics.area_under_curve(SCORES, np.array([0, 0, 0, 1])) is None
    assert metrics.area_under_curve(SCORES, LABELS) == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_the_interval_covers_the_truth_where_slices_are_correlated_and_a_naive_one_does_not() -> None:
    rng = np.random.default_rng(7)
    truth, specimens, slices, studies = 0.9, 36, 30, 200
    covered = naive = 0
    for study in range(studies):
        chance = rng.beta(truth * 0.43, (1 - truth) * 0.43, size=specimens)  # intra-specimen correlation 0.7
        right = rng.random((specimens, slices)) < chance[:, None]
        scores = np.stack([right, ~right], axis=-1).reshape(-1, 2).astype(np.float32)
        labels = np.zeros(len(scores), dtype=np.int64)
        owner = np.repeat(np.arange(specimens).astype(str), slices)
        low, high = metrics.accuracy_interval(scores, labels, owner, seed=study, resamples=400)
        covered += low <= truth <= high
        low, high = metrics.accuracy_interval(scores, labels, np.arange(len(labels)).astype(str), study, 400)
        naive += low <= truth <= high
    assert covered / studies > 0.85
    assert naive / studies < 0.5
