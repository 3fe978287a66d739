"""How good a classifier is, on arrays: scores [N, K] that sum to one, labels int [N], specimens [N].

Slices of one specimen are correlated, so intervals resample specimens.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

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
    """Unweighted mean over the species of the harmonic mean of precision and recall."""
    return float(f1_score(labels, scores.argmax(axis=1), average="macro", zero_division=0))


def area_under_curve(scores: Scores, labels: Labels) -> float | None:
    """Macro one-versus-rest area under the ROC curve; None unless every species has a slice."""
    classes = scores.shape[1]
    if len(np.unique(labels)) < classes:
        return None
    if classes == 2:
        return float(roc_auc_score(labels, scores[:, 1]))
    return float(roc_auc_score(labels, scores / scores.sum(axis=1, keepdims=True), multi_class="ovr"))


def calibration_error(scores: Scores, labels: Labels, bins: int = 15) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over bins (Guo et al. 2017, equation 3)."""
    confidence = scores.max(axis=1)
    right = scores.argmax(axis=1) == labels
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def confusion(scores: Scores, labels: Labels) -> NDArray[np.int64]:
    """Counts int64 [K, K]: rows are true species, columns answers."""
    classes = scores.shape[1]
    return np.bincount(labels * classes + scores.argmax(axis=1), minlength=classes**2).reshape(classes, classes)


def recall_by_species(scores: Scores, labels: Labels) -> NDArray[np.float64]:
    """Share of each species' slices that were recognised, float64 [K]; NaN for a species without slices."""
    table = confusion(scores, labels)
    with np.errstate(invalid="ignore"):
        return np.diag(table) / table.sum(axis=1)


def specimen_accuracy(scores: Scores, labels: Labels, specimens: Specimens) -> float:
    """Share of specimens whose mean score is highest at their label."""
    names, owner = np.unique(specimens, return_inverse=True)
    summed = np.zeros((len(names), scores.shape[1]))
    np.add.at(summed, owner, scores)
    label = np.zeros(len(names), dtype=np.int64)
    label[owner] = labels
    return float((summed.argmax(axis=1) == label).mean())


def accuracy_interval(
    scores: Scores, labels: Labels, specimens: Specimens, seed: int, resamples: int = 2000
) -> tuple[float, float]:
    """95 % interval of the slice accuracy by resampling whole specimens (percentile cluster bootstrap)."""
    _, owner = np.unique(specimens, return_inverse=True)
    right = np.bincount(owner, weights=scores.argmax(axis=1) == labels)
    slices = np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(len(slices), size=(resamples, len(slices)))
    resampled = right[drawn].sum(axis=1) / slices[drawn].sum(axis=1)
    low, high = np.percentile(resampled, (2.5, 97.5))
    return float(low), float(high)
