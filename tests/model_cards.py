"""Model scores and thresholds of model cards, for tests that need one but not its figures."""

from typing import Any

from components.shared.contracts.model_score import ModelScore
from components.shared.contracts.specimen_threshold import SpecimenThreshold


def model_score(accuracy: float = 1.0, **changes: Any) -> ModelScore:
    """Return scores of a model without species, with the given accuracy and other fields."""
    fields: dict[str, Any] = {
        "accuracy": accuracy,
        "accuracy_interval": (0.0, 1.0),
        "top3": 1.0,
        "macro_precision": accuracy,
        "macro_recall": accuracy,
        "macro_f1": accuracy,
        "macro_f1_interval": (0.0, 1.0),
        "weighted_precision": accuracy,
        "weighted_recall": accuracy,
        "weighted_f1": accuracy,
        "auc": None,
        "ece": 0.0,
        "brier": 0.0,
        "specimens": 10,
        "specimen_accuracy": accuracy,
        "specimen_accuracy_lower": 0.5,
        "specimens_needed": None,
        "species": {},
        "unknown_auroc": None,
        "unknown_auroc_by_species": {},
        "unknown_flagged_by_species": {},
        "unknown_flagged_known": 0.05,
        "unknown_flagged_unseen": None,
        "unknown_score": "max_softmax",
    }
    return ModelScore(**{**fields, **changes})


def specimen_threshold(**changes: Any) -> SpecimenThreshold:
    """Return thresholds for the mean score of a specimen's slices, with some fields changed."""
    fields: dict[str, Any] = {
        "aggregation": "mean",
        "level": 0.5,
        "scale": 0.5,
        "lowest": 0.0,
        "highest": 1.0,
        "slices": (1, 4),
        "thresholds": (0.5, 0.4),
        "specimens": 48,
        "flagged_known": 0.05,
    }
    return SpecimenThreshold(**{**fields, **changes})
