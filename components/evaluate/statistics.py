"""How sure a metric of the test specimens is.

Slices of one specimen stand or fall together, so what is drawn at random, and left out in turn, is the specimen.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from components.shared.metrics import Labels, Scores, Specimens

LEVEL = 0.95
Interval = tuple[float, float]
Tables = NDArray[np.int64]


def confusion_by_specimen(scores: Scores, labels: Labels, specimens: Specimens) -> Tables:
    """Counts answers for each specimen, int64 [specimens, K, K]: rows are true species, columns answers."""
    names, owner = np.unique(specimens, return_inverse=True)
    classes = scores.shape[1]
    place = (owner * classes + labels) * classes + scores.argmax(axis=1)
    return np.bincount(place, minlength=len(names) * classes**2).reshape(len(names), classes, classes)


def metric_interval(metric: Callable[[NDArray[np.int64]], float], tables: Tables) -> Interval:
    """95 % interval of a metric between 0 and 1, by leaving each specimen out in turn.

    The jackknife's variance gives the number of independent slices that would be as telling, and Student's t the
    factor by which it is uncertain itself: its degrees of freedom match the variance of the squared pseudo-values
    (Satterthwaite 1946), few where a few specimens make all the errors. Wilson's interval for that number keeps its
    coverage close to 1, where a percentile bootstrap loses it. Without a single error nothing is known of the
    correlation within specimens, and a specimen counts as one slice.

    Args:
        metric: of a confusion matrix int64 [K, K].
        tables: of `confusion_by_specimen`.
    """
    whole, count = tables.sum(axis=0), len(tables)
    value = metric(whole)
    if count < 2 or not math.isfinite(value):
        return 0.0, 1.0
    without = np.array([metric(whole - table) for table in tables])
    rest = count * value - (count - 1) * without - value
    rest -= rest.mean()
    squares = float((rest**2).sum())
    if squares <= 1e-12:
        return _wilson(value, count, count - 1)
    spread = squares**2 / float((rest**4).sum())
    freedom = 2 * spread / max(1 - spread / count, 1e-9)
    independent = value * (1 - value) * count * (count - 1) / squares
    return _wilson(value, independent, min(freedom, count - 1))


def _wilson(value: float, independent: float, freedom: float) -> Interval:
    """Wilson's interval for a share found in so many independent slices; t of so many degrees replaces the normal."""
    tail = (1 - LEVEL) / 2
    slices = independent * (stats.norm.ppf(tail) / stats.t.ppf(tail, freedom)) ** 2
    low, high = proportion_confint(value * slices, slices, alpha=1 - LEVEL, method="wilson")
    return float(low), float(high)


@dataclass(frozen=True)
class Vote:
    """How many specimens are named right by the vote of their slices.

    Attributes:
        right: specimens named right.
        specimens: specimens.
        lower: one-sided exact 95 % lower bound of the accuracy (Clopper and Pearson 1934).
        needed: further specimens, all named right, after which the bound would reach the claim; None for never.
    """

    right: int
    specimens: int
    lower: float
    needed: int | None


def vote_by_specimen(right: NDArray[np.bool_], claim: float) -> Vote:
    """Judges the claim that specimens are named right.

    Args:
        right: whether each specimen is, bool [specimens].
        claim: the accuracy to be shown, 0..1.
    """
    hits, count = int(right.sum()), len(right)
    return Vote(hits, count, lower_bound(hits, count), specimens_needed(hits, count, claim))


def lower_bound(right: int, specimens: int) -> float:
    """One-sided exact 95 % lower bound of a share."""
    return float(stats.beta.ppf(1 - LEVEL, right, specimens - right + 1)) if right else 0.0


def specimens_needed(right: int, specimens: int, claim: float) -> int | None:
    """Returns how many more specimens named right would bring the lower bound to the claim; None if none ever could."""
    if not claim < 1:
        return None
    high = 1
    while lower_bound(right + high, specimens + high) < claim:
        high *= 2
    return bisect_left(range(high), claim, key=lambda more: lower_bound(right + more, specimens + more))
