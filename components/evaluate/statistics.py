"""Uncertainty of metrics on the test set: intervals, lower bounds and paired tests between models.

Slices of one specimen are correlated, so the unit that is resampled or left out is the specimen.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from components.shared.metrics import Labels, Scores, Specimens

CONFIDENCE_LEVEL = 0.95
_RESAMPLES = 9999
Interval = tuple[float, float]
ConfusionMatrices = NDArray[np.int64]
Hits = NDArray[np.bool_]


def confusion_by_specimen(scores: Scores, labels: Labels, specimens: Specimens) -> ConfusionMatrices:
    """Return the confusion matrix of each specimen, int64 [specimens, K, K]; see `metrics.confusion`."""
    names, owner = np.unique(specimens, return_inverse=True)
    classes = scores.shape[1]
    cell = (owner * classes + labels) * classes + scores.argmax(axis=1)
    return np.bincount(cell, minlength=len(names) * classes**2).reshape(len(names), classes, classes)


def metric_interval(metric: Callable[[NDArray[np.int64]], float], matrices: ConfusionMatrices) -> Interval:
    """Return the 95 % interval of a metric between 0 and 1 from a jackknife over specimens.

    The jackknife's variance gives the effective number of independent slices, and Student's t accounts for the
    uncertainty of this number: its degrees of freedom match the variance of the squared pseudo-values (Satterthwaite
    1946) and are few if a few specimens cause all errors. Wilson's interval for the effective number keeps its
    coverage close to 1; a percentile bootstrap does not. Without an error the correlation within specimens cannot
    be estimated, and each specimen counts as one slice.

    Args:
        metric: Function of a confusion matrix int64 [K, K].
        matrices: Confusion matrices of `confusion_by_specimen`.
    """
    total, count = matrices.sum(axis=0), len(matrices)
    value = metric(total)
    if count < 2 or not math.isfinite(value):
        return 0.0, 1.0
    leave_one_out = np.array([metric(total - matrix) for matrix in matrices])
    residuals = count * value - (count - 1) * leave_one_out - value
    residuals -= residuals.mean()
    squares = float((residuals**2).sum())
    if squares <= 1e-12:
        return _wilson(value, count, count - 1)
    spread = squares**2 / float((residuals**4).sum())
    freedom = 2 * spread / max(1 - spread / count, 1e-9)
    independent = value * (1 - value) * count * (count - 1) / squares
    return _wilson(value, independent, min(freedom, count - 1))


def _wilson(value: float, independent: float, freedom: float) -> Interval:
    """Return Wilson's interval with Student's t in place of the normal distribution.

    Args:
        value: Observed proportion, 0..1.
        independent: Effective number of independent slices.
        freedom: Degrees of freedom of Student's t.
    """
    tail = (1 - CONFIDENCE_LEVEL) / 2
    slices = independent * (stats.norm.ppf(tail) / stats.t.ppf(tail, freedom)) ** 2
    low, high = proportion_confint(value * slices, slices, alpha=1 - CONFIDENCE_LEVEL, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class SpecimenVote:
    """Number of specimens that the vote of their slices classifies correctly.

    Attributes:
        correct: Number of specimens classified correctly.
        specimens: Number of specimens.
        lower: One-sided exact 95 % lower bound of the accuracy by specimen (Clopper and Pearson 1934).
        further_specimens: Number of further specimens, all classified correctly, with which the bound would reach the
            target accuracy; None if it never would.
    """

    correct: int
    specimens: int
    lower: float
    further_specimens: int | None


def vote_by_specimen(correct: Hits, target_accuracy: float) -> SpecimenVote:
    """Count the specimens classified correctly and compare the lower bound of their share with a target.

    Args:
        correct: Whether each specimen is classified correctly, bool [specimens].
        target_accuracy: Accuracy by specimen that the lower bound has to reach, 0..1.
    """
    hits, count = int(correct.sum()), len(correct)
    return SpecimenVote(hits, count, lower_bound(hits, count), specimens_needed(hits, count, target_accuracy))


def lower_bound(correct: int, specimens: int) -> float:
    """Return the one-sided exact 95 % lower bound of the proportion `correct` of `specimens`."""
    return float(stats.beta.ppf(1 - CONFIDENCE_LEVEL, correct, specimens - correct + 1)) if correct else 0.0


def specimens_needed(correct: int, specimens: int, target_accuracy: float) -> int | None:
    """Return the number of further correct specimens with which the lower bound reaches the target, None for never."""
    if not target_accuracy < 1:
        return None
    high = 1
    while lower_bound(correct + high, specimens + high) < target_accuracy:
        high *= 2
    return bisect_left(range(high), target_accuracy, key=lambda more: lower_bound(correct + more, specimens + more))


@dataclass(frozen=True)
class Comparison:
    """Paired comparison of two models on the same slices.

    Attributes:
        first: Name of one model.
        second: Name of the other model.
        difference: Accuracy of the first model minus that of the second.
        mcnemar: Two-sided exact p-value by slice (McNemar 1947); too small where slices are correlated.
        by_specimen: Two-sided p-value of a permutation test that swaps the models' predictions for whole specimens.
        mcnemar_corrected: `mcnemar` after Holm's correction for the number of comparisons (Holm 1979).
        by_specimen_corrected: `by_specimen` after the same correction; the valid p-value of the four.
    """

    first: str
    second: str
    difference: float
    mcnemar: float
    by_specimen: float
    mcnemar_corrected: float
    by_specimen_corrected: float


def compare_models(correct: Mapping[str, Hits], specimens: Specimens, seed: int) -> list[Comparison]:
    """Compare every pair of models.

    Args:
        correct: Whether each model classifies each slice correctly, bool [N] by model.
        specimens: Specimen of each slice, [N].
        seed: Seed of the permutations.
    """
    pairs = list(combinations(correct, 2))
    if not pairs:
        return []
    by_slice = [mcnemar_p(correct[a], correct[b]) for a, b in pairs]
    by_specimen = [specimen_permutation_p(correct[a], correct[b], specimens, seed) for a, b in pairs]
    holm = (multipletests(p_values, method="holm")[1].tolist() for p_values in (by_slice, by_specimen))
    p_values = zip(by_slice, by_specimen, *holm, strict=True)
    return [
        Comparison(a, b, float(correct[a].mean() - correct[b].mean()), *p_values_of_pair)
        for (a, b), p_values_of_pair in zip(pairs, p_values, strict=True)
    ]


def mcnemar_p(first: Hits, second: Hits) -> float:
    """Return the exact two-sided p-value of McNemar's test for two arrays bool [N]."""
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    return float(mcnemar(table, exact=True).pvalue)


def specimen_permutation_p(first: Hits, second: Hits, specimens: Specimens, seed: int) -> float:
    """Return the two-sided p-value of a permutation test that swaps the predictions of two models by specimen.

    All swaps are tried if there are few specimens, otherwise 9,999 random ones.
    """
    _, owner = np.unique(specimens, return_inverse=True)
    hits = [np.bincount(owner, weights=correct) for correct in (first, second)]
    differ = hits[0] != hits[1]
    if differ.sum() < 2:  # swapping one specimen gives the same difference
        return 1.0
    result = stats.permutation_test(
        (hits[0][differ], hits[1][differ]),
        _sum_of_differences,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _sum_of_differences(first: NDArray[np.float64], second: NDArray[np.float64], axis: int) -> Any:
    return (first - second).sum(axis=axis)
