"""Open-set recognition of slices: feature banks, scores, and the selection of a score with its threshold."""

from components.evaluate.open_set.banks import SMALLEST_NORM, FeatureBank, LayerBank
from components.evaluate.open_set.scores import SCORES, EnsembleOutputs
from components.evaluate.open_set.selection import (
    FLAGGED_SHARE,
    GreyViews,
    OpenSetScore,
    ScaledScore,
    fit_open_set_score,
    iterate_outputs,
    outputs_of_rows,
)

__all__ = [
    "FLAGGED_SHARE",
    "SCORES",
    "SMALLEST_NORM",
    "EnsembleOutputs",
    "FeatureBank",
    "GreyViews",
    "LayerBank",
    "OpenSetScore",
    "ScaledScore",
    "fit_open_set_score",
    "iterate_outputs",
    "outputs_of_rows",
]
