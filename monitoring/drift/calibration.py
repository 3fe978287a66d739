"""Drift thresholds from the reference's own specimens.

Slices of one specimen are alike, so the usual thresholds, which take slices as independent, call nearly every clean
window drift. Here whole specimens are left out of the reference again and again as a pseudo-window, with as many slices
each as the real window's specimens have, and compared with the rest; what such clean windows score sets the threshold.
The level is corrected for the number of features by the distribution of the most extreme one (Westfall and Young 1993),
which takes their correlation into account.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from monitoring.drift.distances import Floats, PseudoWindows, jensen_shannon, normed_wasserstein
from monitoring.drift.features import NAMES
from monitoring.drift.window_features import Contrasts

SMALLEST_THRESHOLD = 0.1
_BLOCK_NUMBERS = 4_000_000
_TIE = 1e-9


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
    found = common_thresholds(np.column_stack(list(scores.values())), false_alarms)
    return {name: max(SMALLEST_THRESHOLD, float(found[number])) for number, name in enumerate(scores)}


def resampled_scores(
    reference: pd.DataFrame, slices_per_specimen: Sequence[int], resamples: int, seed: int
) -> dict[str, Floats]:
    """Scores pseudo-windows of the reference against the rest of it.

    Returns:
        float64 [resamples] by feature, CONTRASTS last: normed Wasserstein distance of numbers, Jensen-Shannon distance
        of names.
    """
    rng = np.random.default_rng(seed)
    features, contrasts = [str(name) for name in reference if name != "specimen"], Contrasts(reference)
    block = max(1, _BLOCK_NUMBERS // len(reference))
    parts = []
    for start in range(0, resamples, block):
        drawn = draw(reference["specimen"], slices_per_specimen, min(block, resamples - start), rng)
        parts.append({**{name: _scores(reference[name], drawn) for name in features}, **contrasts.resampled(drawn)})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


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
    if values.name in NAMES:
        return jensen_shannon(values.to_numpy(str), drawn)
    return normed_wasserstein(values.to_numpy(np.float64), drawn)


def common_thresholds(scores: Floats, false_alarms: float) -> Floats:
    """Returns the thresholds [F] that at most `false_alarms` of the rows of scores [R, F] reach in any column.

    A score's p-value is the share of rows that score at least as much; equally rare scores are equally far out in
    every column. Scores that many rows share, as counts of specimens do, are taken together or not at all.
    """
    ordered = np.sort(scores, axis=0)
    rows = len(scores)
    as_much = np.column_stack([rows - np.searchsorted(ordered[:, f], scores[:, f]) for f in range(scores.shape[1])])
    rarest = np.sort(as_much.min(axis=1))
    taken = int(rarest[int(false_alarms * rows)]) - 1
    above = ordered[-1] * (1 + _TIE) if taken == 0 else ordered[rows - taken]
    ties = above * (1 - _TIE) <= ordered[rows - taken - 1]
    return np.where(ties, above * (1 + _TIE), above)
