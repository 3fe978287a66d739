"""How many slices of known and of unseen species each threshold of the unknown score flags."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from components.shared import metrics

_POINTS = 200
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class UnknownCurve:
    """How well species that the model never saw are told from those it knows.

    Attributes:
        flagged_known: float64 [P], share of known slices above a threshold, ascending.
        flagged_unseen: float64 [P], share of slices of unseen species above the same.
        auroc: area under the curve; 0.5 is chance.
        known_at_threshold: share of known slices that the served threshold flags.
        unseen_at_threshold: share of slices of unseen species that it flags.
        known: number of slices of known species.
        unseen: number of slices of unseen species.
    """

    flagged_known: Shares
    flagged_unseen: Shares
    auroc: float
    known_at_threshold: float
    unseen_at_threshold: float
    known: int
    unseen: int


def unknown_curve(known: Shares, unseen: Shares, threshold: float) -> UnknownCurve:
    """Compares unknown scores of known and of unseen species.

    Args:
        known: scores of test slices of known species, [N]; the higher, the less known.
        unseen: scores of slices of unseen species, [M].
        threshold: of the served model, above which a slice is called unknown.
    """
    truth = np.repeat((0, 1), (len(known), len(unseen)))
    flagged_known, flagged_unseen, _ = roc_curve(truth, np.concatenate([known, unseen]))
    kept = np.unique(np.linspace(0, len(flagged_known) - 1, _POINTS).astype(int))
    return UnknownCurve(
        flagged_known=flagged_known[kept],
        flagged_unseen=flagged_unseen[kept],
        auroc=metrics.separation(known, unseen),
        known_at_threshold=float((known > threshold).mean()),
        unseen_at_threshold=float((unseen > threshold).mean()),
        known=len(known),
        unseen=len(unseen),
    )
