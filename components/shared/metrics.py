"""How good a classifier is, on arrays: scores [N, K] that sum to one, labels int [N], specimens [N]."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]
Specimens = NDArray[np.str_]


def accuracy(scores: Scores, labels: Labels) -> float:
    """Share of slices whose highest score is at their label."""
    return float((scores.argmax(axis=1) == labels).mean())


def top_accuracy(scores: Scores, labels: Labels, places: int = 3) -> float:
    """Share of slices whose label is among the highest scores."""
    best = np.argsort(-scores, axis=1)[:, :places]
    return float((best == labels[:, None]).any(axis=1).mean())


def macro_f1(scores: Scores, labels: Labels) -> float:
    """Unweighted mean of the harmonic mean of precision and recall over the species that have slices."""
    return macro_f1_of(confusion(scores, labels))


def area_under_curve(scores: Scores, labels: Labels) -> float | None:
    """Macro one-versus-rest area under the ROC curve; None unless every species has a slice."""
    classes = scores.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    return float(roc_auc_score(labels, scores / scores.sum(axis=1, keepdims=True), multi_class="ovr"))


def separation(low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Area under the ROC curve of two groups of values [N] and [M]: how often one of `high` is above one of `low`."""
    return float(roc_auc_score(np.repeat((0, 1), (len(low), len(high))), np.concatenate([low, high])))


CALIBRATION_BINS = 15


def confidence_bins(scores: Scores) -> Labels:
    """Return the bin of each slice's confidence, int64 [N] in 0..CALIBRATION_BINS - 1, all bins of equal width."""
    return np.minimum((scores.max(axis=1) * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def calibration_error(scores: Scores, labels: Labels) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins (Guo et al. 2017, equation 3)."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    gaps = np.bincount(confidence_bins(scores), weights=right - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def confusion(scores: NDArray[np.floating[Any]], labels: Labels) -> NDArray[np.int64]:
    """Counts int64 [K, K]: rows are true species, columns answers."""
    classes = scores.shape[1]
    return np.bincount(labels * classes + scores.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def recall_by_species(scores: Scores, labels: Labels) -> NDArray[np.float64]:
    """Share of each species' slices that were recognised, float64 [K]; NaN for a species without slices."""
    return species_table(confusion(scores, labels))["recall"]


def votes_of_specimens(scores: Scores, labels: Labels, specimens: Specimens) -> tuple[NDArray[np.float64], Labels]:
    """Sums the scores of each specimen's slices: float64 [specimens, K] by name, and their labels."""
    names, first, owner = np.unique(specimens, return_index=True, return_inverse=True)
    summed = np.zeros((len(names), scores.shape[1]))
    np.add.at(summed, owner, scores)
    return summed, labels[first]


def right_specimens(scores: Scores, labels: Labels, specimens: Specimens) -> NDArray[np.bool_]:
    """Whether the mean score of each specimen's slices is highest at its label, bool [specimens], by name."""
    votes, label = votes_of_specimens(scores, labels, specimens)
    return np.asarray(votes.argmax(axis=1) == label)


def brier_score(scores: Scores, labels: Labels) -> float:
    """Mean squared distance of the scores from the truth, 0..2 (Brier 1950)."""
    truth = np.eye(scores.shape[1], dtype=np.float32)[labels]
    return float(((scores - truth) ** 2).sum(axis=1).mean())


def species_table(table: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Precision, recall and F1 of each species, float64 [K], from a confusion matrix [K, K].

    A species without slices has no recall and no F1 (NaN); one that is never answered has precision 0.
    """
    hits, true, answered = np.diag(table).astype(np.float64), table.sum(axis=1), table.sum(axis=0)
    there = np.where(true > 0, true, np.nan)
    return {
        "precision": hits / np.maximum(answered, 1),
        "recall": hits / there,
        "f1": 2 * hits / (there + answered),
    }


def macro_f1_of(table: NDArray[np.int64]) -> float:
    """Macro F1 from a confusion matrix, over the species that have slices."""
    return _mean_of_present(species_table(table)["f1"])


def averages(table: NDArray[np.int64]) -> dict[str, float]:
    """Macro means, each species alike, and means weighted by slices, of precision, recall and F1."""
    found, slices = species_table(table), table.sum(axis=1)
    macro = {f"macro_{name}": _mean_of_present(values) for name, values in found.items()}
    weighted = {
        f"weighted_{name}": float((np.nan_to_num(values) * slices).sum() / slices.sum())
        for name, values in found.items()
    }
    return macro | weighted


def _mean_of_present(values: NDArray[np.float64]) -> float:
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
