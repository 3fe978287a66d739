"""Drift thresholds calibrated by resampling whole specimens of the reference.

Slices of one specimen are similar, so the usual thresholds, which treat slices as independent, report drift in nearly
every clean window. The calibration repeatedly takes whole specimens out of the reference as a pseudo-window, with the
same numbers of slices per specimen as the real window, and compares them with the rest; the scores of these clean
windows determine the thresholds. The level is corrected for the number of features by the distribution of the most
extreme feature (Westfall and Young 1993), which accounts for their correlation.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from monitoring.drift.distances import Floats, PseudoWindows, jensen_shannon, normed_wasserstein
from monitoring.drift.features import CATEGORICAL_FEATURES
from monitoring.drift.window_features import WindowFeatures

SMALLEST_THRESHOLD = 0.1
_MAX_BLOCK_VALUES = 4_000_000
_TIE = 1e-9


def calibrate(
    reference: pd.DataFrame, slices_per_specimen: Sequence[int], false_alarm_rate: float, resamples: int, seed: int
) -> dict[str, float]:
    """Calibrate a drift threshold for each feature.

    Args:
        reference: One row per slice, with `specimen` and the features.
        slices_per_specimen: Number of slices of each specimen in the window.
        false_alarm_rate: Share of clean windows in which any feature may reach its threshold.
        resamples: Number of pseudo-windows.
        seed: Seed of the draws.

    Returns:
        The threshold of each feature, at least SMALLEST_THRESHOLD, which is Evidently's default.
    """
    scores = resampled_scores(reference, slices_per_specimen, resamples, seed)
    thresholds = familywise_thresholds(np.column_stack(list(scores.values())), false_alarm_rate)
    return {name: max(SMALLEST_THRESHOLD, float(thresholds[number])) for number, name in enumerate(scores)}


def resampled_scores(
    reference: pd.DataFrame, slices_per_specimen: Sequence[int], resamples: int, seed: int
) -> dict[str, Floats]:
    """Return the drift scores of pseudo-windows against the rest of the reference.

    Returns:
        float64 [resamples] by feature, WINDOW_FEATURES last: normed Wasserstein distances of numerical features,
        Jensen-Shannon distances of categorical ones.
    """
    rng = np.random.default_rng(seed)
    features, window_features = [str(name) for name in reference if name != "specimen"], WindowFeatures(reference)
    block_rows = max(1, _MAX_BLOCK_VALUES // len(reference))
    blocks = []
    for start in range(0, resamples, block_rows):
        windows = draw_pseudo_windows(
            reference["specimen"], slices_per_specimen, min(block_rows, resamples - start), rng
        )
        scores = {name: _scores(reference[name], windows) for name in features}
        blocks.append({**scores, **window_features.resampled(windows)})
    return {name: np.concatenate([scores[name] for scores in blocks]) for name in blocks[0]}


def draw_pseudo_windows(
    specimens: pd.Series, slices_per_specimen: Sequence[int], resamples: int, rng: np.random.Generator
) -> PseudoWindows:
    """Draw pseudo-windows: specimens without replacement, their slices with replacement.

    A window takes at most half of the reference's specimens, so that enough are left to compare with.
    """
    codes, names = pd.factorize(specimens)
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sizes = np.asarray(slices_per_specimen)
    count = min(len(sizes), len(names) // 2)
    window = np.zeros((resamples, len(codes)))
    rest = np.ones((resamples, len(codes)))
    for row in range(resamples):
        window_specimens = rng.choice(len(names), count, replace=False)
        slice_owners = np.repeat(window_specimens, rng.choice(sizes, count, replace=False))
        slices = order[starts[slice_owners] + (rng.random(len(slice_owners)) * counts[slice_owners]).astype(np.int64)]
        window[row] = np.bincount(slices, minlength=len(codes))
        rest[row, np.isin(codes, window_specimens)] = 0
    return PseudoWindows(
        window / window.sum(axis=1, keepdims=True),
        rest / rest.sum(axis=1, keepdims=True),
    )


def _scores(values: pd.Series, windows: PseudoWindows) -> Floats:
    if values.name in CATEGORICAL_FEATURES:
        return jensen_shannon(values.to_numpy(str), windows)
    return normed_wasserstein(values.to_numpy(np.float64), windows)


def familywise_thresholds(scores: Floats, false_alarm_rate: float) -> Floats:
    """Return thresholds [F] such that at most `false_alarm_rate` of the rows of scores [R, F] reach any of them.

    The p-value of a score is the share of rows that score at least as high; all thresholds have the same p-value.
    Scores shared by many rows, as in counts of specimens, are either all above the threshold or all below it.
    """
    sorted_scores = np.sort(scores, axis=0)
    rows = len(scores)
    ranks = np.column_stack([rows - np.searchsorted(sorted_scores[:, f], scores[:, f]) for f in range(scores.shape[1])])
    extreme_ranks = np.sort(ranks.min(axis=1))
    rank = int(extreme_ranks[int(false_alarm_rate * rows)]) - 1
    thresholds = sorted_scores[-1] * (1 + _TIE) if rank == 0 else sorted_scores[rows - rank]
    ties = thresholds * (1 - _TIE) <= sorted_scores[rows - rank - 1]
    return np.where(ties, thresholds * (1 + _TIE), thresholds)
