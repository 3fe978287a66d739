"""Metrics equal values computed by hand."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from components.shared import metrics

SCORES = np.array([[0.45, 0.1, 0.45], [0.1, 0.5, 0.4], [0.3, 0.2, 0.5], [0.2, 0.7, 0.1]], dtype=np.float32)
LABELS = np.array([0, 2, 2, 1])
SPECIMENS = np.array(["a", "b", "b", "c"])


def test_accuracies_and_confusion_equal_counts_by_hand() -> None:
    assert metrics.accuracy(metrics.confusion(SCORES, LABELS)) == 0.75
    assert metrics.top_accuracy(SCORES, LABELS, k=2) == 1.0
    assert metrics.confusion(SCORES, LABELS).tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]


def test_macro_f1_weights_species_equally() -> None:
    assert metrics.macro_f1(metrics.confusion(SCORES, LABELS)) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


def test_recall_of_a_species_without_slices_is_nan() -> None:
    recall = metrics.species_table(metrics.confusion(SCORES, np.array([0, 0, 0, 1])))["recall"]
    assert recall[:2].tolist() == [1 / 3, 1.0]
    assert np.isnan(recall[2])


def test_specimens_are_classified_by_their_mean_score() -> None:
    assert metrics.correct_specimens(SCORES, LABELS, SPECIMENS).tolist() == [True, True, True]
    assert metrics.correct_specimens(SCORES, np.array([2, 2, 2, 1]), SPECIMENS).tolist() == [False, True, True]


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    scores = np.tile(np.array([[0.8, 0.2]], dtype=np.float32), (10, 1))
    assert metrics.calibration_error(scores, np.array([0] * 8 + [1] * 2)) == pytest.approx(0.0, abs=1e-6)
    assert metrics.calibration_error(scores, np.zeros(10, dtype=np.int64)) == pytest.approx(0.2, abs=1e-6)


def test_the_area_under_the_curve_needs_every_species() -> None:
    assert metrics.area_under_curve(SCORES, np.array([0, 0, 0, 1])) is None
    assert metrics.area_under_curve(SCORES, LABELS) == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_the_brier_score_is_the_squared_distance_from_the_truth() -> None:
    assert metrics.brier_score(SCORES[:1], LABELS[:1]) == pytest.approx(0.55**2 + 0.1**2 + 0.45**2)


def test_the_table_of_species_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(4, size=200), rng.random((200, 4)).astype(np.float32)
    table = metrics.species_table(metrics.confusion(scores, labels))
    answers = scores.argmax(axis=1)
    for name, reference in zip(
        ("precision", "recall", "f1"), precision_recall_fscore_support(labels, answers), strict=False
    ):
        np.testing.assert_allclose(table[name], reference)
    means = metrics.averages(metrics.confusion(scores, labels))
    for average in ("macro", "weighted"):
        reference = precision_recall_fscore_support(labels, answers, average=average)[:3]
        assert [means[f"{average}_{name}"] for name in ("precision", "recall", "f1")] == pytest.approx(reference)
    assert metrics.macro_f1(metrics.confusion(scores, labels)) == pytest.approx(means["macro_f1"])


def test_means_exclude_a_species_without_slices() -> None:
    answers = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    assert metrics.macro_f1(metrics.confusion(answers, np.array([0, 1, 1, 0]))) == pytest.approx((1 + 2 / 3) / 2)
    table = np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]])
    assert np.isnan(metrics.species_table(table)["recall"][2])
    assert metrics.averages(table)["macro_recall"] == pytest.approx((0.75 + 1) / 2)
