"""Metrics of a classifier: functions of scores [N, K] that sum to one and labels int [N], or of a confusion matrix.

A confusion matrix is int64 [K, K]: rows are true species, columns are predicted species.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]
Specimens = NDArray[np.str_]


def top_accuracy(scores: Scores, labels: Labels, k: int = 3) -> float:
    """Return the share of slices whose label is among the `k` highest scores."""
    best = np.argsort(-scores, axis=1)[:, :k]
    return float((best == labels[:, None]).any(axis=1).mean())


def area_under_curve(scores: Scores, labels: Labels) -> float | None:
    """Return the macro one-versus-rest area under the ROC curve; None unless every species has a slice."""
    classes = scores.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    return float(roc_auc_score(labels, scores / scores.sum(axis=1, keepdims=True), multi_class="ovr"))


def separation(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve of two groups of values [N] and [M]: the probability of `high` > `low`."""
    return float(roc_auc_score(np.repeat((0, 1), (len(low), len(high))), np.concatenate([low, high])))


CALIBRATION_BINS = 15


def confidence_bins(scores: Scores) -> Labels:
    """Return the bin of each slice's confidence, int64 [N] in 0..CALIBRATION_BINS - 1, all bins of equal width."""
    return np.minimum((scores.max(axis=1) * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def calibration_error(scores: Scores, labels: Labels) -> float:
    """Return the expected calibration error: mean gap of confidence and accuracy over bins (Guo et al. 2017, eq. 3)."""
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == labels
    gaps = np.bincount(confidence_bins(scores), weights=correct - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def confusion(scores: NDArray[np.floating[Any]], labels: Labels) -> NDArray[np.int64]:
    """Return the confusion matrix of scores and labels."""
    classes = scores.shape[1]
    return np.bincount(labels * classes + scores.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def votes_of_specimens(scores: Scores, labels: Labels, specimens: Specimens) -> tuple[NDArray[np.float64], Labels]:
    """Return the sum of each specimen's scores, float64 [specimens, K] in the order of names, and its label."""
    names, first, owner = np.unique(specimens, return_index=True, return_inverse=True)
    sums = np.zeros((len(names), scores.shape[1]))
    np.add.at(sums, owner, scores)
    return sums, labels[first]


def correct_specimens(scores: Scores, labels: Labels, specimens: Specimens) -> NDArray[np.bool_]:
    """Return whether each specimen's mean score is highest at its label, bool [specimens] in the order of names."""
    votes, label = votes_of_specimens(scores, labels, specimens)
    return np.asarray(votes.argmax(axis=1) == label)


def brier_score(scores: Scores, labels: Labels) -> float:
    """Return the Brier score: mean squared distance of the scores from the truth, 0..2 (Brier 1950)."""
    truth = np.eye(scores.shape[1], dtype=np.float32)[labels]
    return float(((scores - truth) ** 2).sum(axis=1).mean())


def species_table(matrix: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Return precision, recall and F1 of each species, float64 [K], from a confusion matrix [K, K].

    A species without slices has no recall and no F1 (NaN); a species that is never predicted has precision 0.
    """
    hits, true, predictions = np.diag(matrix).astype(np.float64), matrix.sum(axis=1), matrix.sum(axis=0)
    support = np.where(true > 0, true, np.nan)
    return {
        "precision": hits / np.maximum(predictions, 1),
        "recall": hits / support,
        "f1": 2 * hits / (support + predictions),
    }


def accuracy(matrix: NDArray[np.int64]) -> float:
    """Return the accuracy of a confusion matrix, NaN for an empty one."""
    return float(np.trace(matrix) / matrix.sum()) if matrix.any() else float("nan")


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Return the macro F1 of a confusion matrix, over the species that have slices."""
    return _mean_of_finite(species_table(matrix)["f1"])


def averages(matrix: NDArray[np.int64]) -> dict[str, float]:
    """Return means of precision, recall and F1: macro (unweighted) and weighted by the slices of each species."""
    scores, slices = species_table(matrix), matrix.sum(axis=1)
    macro = {f"macro_{name}": _mean_of_finite(values) for name, values in scores.items()}
    by_slices = {
        f"weighted_{name}": float((np.nan_to_num(values) * slices).sum() / slices.sum())
        for name, values in scores.items()
    }
    return macro | by_slices


def _mean_of_finite(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
