"""Drift thresholds from the reference's own specimens.

Slices of one specimen are alike, so the usual thresholds, which take slices as independent, call nearly every clean
window drift. Here whole specimens are left out of the reference again and again as a pseudo-window, with as many slices
each as the real window's specimens have, and compared with the rest; what such clean windows score sets the threshold.
The level is corrected for the number of features by the distribution of the most extreme one (Westfall and Young 1993),
which takes their correlation into account.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from monitoring.profiles import CATEGORICAL, NUMERIC

Floats = NDArray[np.float64]

SMALLEST_THRESHOLD = 0.1
SMALLEST_NORM = 0.001
_BLOCK_NUMBERS = 4_000_000


@dataclass(frozen=True)
class PseudoWindows:
    """Weights of the reference's slices in R pseudo-windows and in what is left.

    Attributes:
        window: float64 [R, N], rows sum to 1.
        rest: float64 [R, N], rows sum to 1.
    """

    window: Floats
    rest: Floats


def calibrate(
    reference: pd.DataFrame, slices_per_specimen: Sequence[int], false_alarms: float, resamples: int, seed: int
) -> dict[str, float]:
    """Calibrates a drift threshold for each feature.

    Args:
        reference: a row per slice, `specimen` and features.
        slices_per_specimen: of the window that is to be judged.
        false_alarms: the share of clean windows in which any feature may reach its threshold.
        resamples: how many pseudo-windows are drawn.
        seed: of the draws.

    Returns:
        A threshold by feature, never below SMALLEST_THRESHOLD, Evidently's default.
    """
    scores = resampled_scores(reference, slices_per_specimen, resamples, seed)
    level = _common_level(np.column_stack(list(scores.values())), false_alarms)
    return {
        name: max(SMALLEST_THRESHOLD, float(np.quantile(drawn, level, method="higher")))
        for name, drawn in scores.items()
    }


def resampled_scores(
    reference: pd.DataFrame, slices_per_specimen: Sequence[int], resamples: int, seed: int
) -> dict[str, Floats]:
    """Scores pseudo-windows of the reference against the rest of it.

    Returns:
        float64 [resamples] by feature: normed Wasserstein distance of numbers, Jensen-Shannon distance of names.
    """
    rng = np.random.default_rng(seed)
    features = [str(name) for name in reference if name != "specimen"]
    block = max(1, _BLOCK_NUMBERS // len(reference))
    parts = []
    for start in range(0, resamples, block):
        drawn = draw(reference["specimen"], slices_per_specimen, min(block, resamples - start), rng)
        parts.append([_scores(reference[name], drawn) for name in features])
    return {name: np.concatenate([part[number] for part in parts]) for number, name in enumerate(features)}


def draw(
    specimens: pd.Series, slices_per_specimen: Sequence[int], resamples: int, rng: np.random.Generator
) -> PseudoWindows:
    """Draws pseudo-windows: specimens without, their slices with replacement.

    At most half of the reference's specimens go into a window, so that something is left to compare with.
    """
    codes, names = pd.factorize(specimens)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sizes = np.asarray(slices_per_specimen)
    taken = min(len(sizes), len(names) // 2)
    window = np.zeros((resamples, len(codes)))
    rest = np.ones((resamples, len(codes)))
    for row in range(resamples):
        chosen = rng.choice(len(names), taken, replace=False)
        drawn_sizes = rng.choice(sizes, taken, replace=False)
        owner = np.repeat(chosen, drawn_sizes)
        picked = order[starts[owner] + (rng.random(len(owner)) * counts[owner]).astype(np.int64)]
        window[row] = np.bincount(picked, minlength=len(codes))
        rest[row, np.isin(codes, chosen)] = 0
    return PseudoWindows(
        window / window.sum(axis=1, keepdims=True),
        rest / rest.sum(axis=1, keepdims=True),
    )


def _scores(values: pd.Series, drawn: PseudoWindows) -> Floats:
    if values.name in CATEGORICAL:
        return jensen_shannon(values.to_numpy(str), drawn)
    assert values.name in NUMERIC
    return normed_wasserstein(values.to_numpy(np.float64), drawn)


def normed_wasserstein(values: Floats, drawn: PseudoWindows) -> Floats:
    """Returns float64 [R]: Wasserstein distance over the rest's standard deviation, as Evidently defines it."""
    order = np.argsort(values)
    gaps = np.diff(values[order])
    distance = np.cumsum(drawn.window[:, order] - drawn.rest[:, order], axis=1)[:, :-1]
    mean = drawn.rest @ values
    deviation = np.sqrt(np.maximum(drawn.rest @ values**2 - mean**2, 0))
    return np.asarray(np.abs(distance) @ gaps / np.maximum(deviation, SMALLEST_NORM))


def jensen_shannon(names: NDArray[np.str_], drawn: PseudoWindows) -> Floats:
    """Returns float64 [R]: Jensen-Shannon distance (natural logarithm) of the shares of the names, as Evidently's."""
    member = (names[:, None] == np.unique(names)[None, :]).astype(np.float64)
    # Rounding takes the divergence of equal shares below zero, whose root is NaN.
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(jensenshannon(drawn.window @ member, drawn.rest @ member, axis=1))


def _common_level(scores: Floats, false_alarms: float) -> float:
    """Returns the level whose column quantiles are exceeded in `false_alarms` of the rows of [R, F], in any column."""
    ranks = scores.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / (len(scores) - 1)
    return float(np.quantile(ranks.max(axis=1), 1 - false_alarms, method="higher"))
