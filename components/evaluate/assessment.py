"""What the test specimens say about an ensemble: metrics with intervals, a table of species, unknown species."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.evaluate.predictions import SplitSlices
from components.evaluate.statistics import confusion_by_specimen, metric_interval, vote_by_specimen
from components.shared import metrics
from components.shared.metrics import Scores

Values = NDArray[np.float64]


@dataclass(frozen=True)
class UnknownFindings:
    """How well unknown species are told from known ones.

    Attributes:
        threshold: a slice above it is called unknown.
        known: score of each test slice, float64 [N].
        unseen: score of each slice of species outside the model, float64 [M]; empty where the data set has none.
        species: of each slice of `unseen`, [M].
    """

    threshold: float
    known: Values
    unseen: Values = field(default_factory=lambda: np.empty(0))
    species: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=str))

    def metrics(self) -> dict[str, Any]:
        """Areas under the ROC curve and shares called unknown; None where no species outside the model is given."""
        given = len(self.unseen) > 0
        return {
            "unknown_auroc": metrics.separation(self.known, self.unseen) if given else None,
            "unknown_auroc_by_species": {
                str(name): metrics.separation(self.known, self.unseen[self.species == name])
                for name in np.unique(self.species)
            },
            "unknown_flagged_by_species": {
                str(name): float((self.unseen[self.species == name] > self.threshold).mean())
                for name in np.unique(self.species)
            },
            "unknown_flagged_known": float((self.known > self.threshold).mean()),
            "unknown_flagged_unseen": float((self.unseen > self.threshold).mean()) if given else None,
        }


def assess(scores: Scores, slices: SplitSlices, classes: Sequence[str], claim: float) -> dict[str, Any]:
    """Measures an ensemble on the test slices.

    Args:
        scores: of the ensemble, float32 [N, K].
        slices: labels and specimens.
        classes: species in the order of the scores.
        claim: accuracy by specimen that shall be shown.
    """
    tables = confusion_by_specimen(scores, slices.labels, slices.specimens)
    table = tables.sum(axis=0)
    vote = vote_by_specimen(metrics.right_specimens(scores, slices.labels, slices.specimens), claim)
    return {
        "accuracy": metrics.accuracy(scores, slices.labels),
        "accuracy_interval": list(metric_interval(accuracy_of, tables)),
        "top3": metrics.top_accuracy(scores, slices.labels),
        **metrics.averages(table),
        "macro_f1_interval": list(metric_interval(metrics.macro_f1_of, tables)),
        "auc": metrics.area_under_curve(scores, slices.labels),
        "ece": metrics.calibration_error(scores, slices.labels),
        "brier": metrics.brier_score(scores, slices.labels),
        "specimens": vote.specimens,
        "specimen_accuracy": vote.right / vote.specimens,
        "specimen_accuracy_lower": vote.lower,
        "specimens_needed": vote.needed,
        "species": species_rows(table, slices, classes),
    }


def accuracy_of(table: NDArray[np.int64]) -> float:
    """Accuracy from a confusion matrix."""
    return float(np.trace(table) / table.sum()) if table.any() else float("nan")


def species_rows(
    table: NDArray[np.int64], slices: SplitSlices, classes: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """Returns precision, recall, F1, slices and specimens of each species; None stands for what has no value."""
    found, specimens = metrics.species_table(table), specimens_of(slices, classes)
    return {
        name: {
            **{key: float(values[place]) if np.isfinite(values[place]) else None for key, values in found.items()},
            "slices": int(table[place].sum()),
            "specimens": specimens[name],
        }
        for place, name in enumerate(classes)
    }


def specimens_of(slices: SplitSlices, classes: Sequence[str]) -> dict[str, int]:
    """Counts the specimens of each species."""
    return {name: len(np.unique(slices.specimens[slices.labels == place])) for place, name in enumerate(classes)}


def assess_backbones(logits: Mapping[str, NDArray[np.float32]], slices: SplitSlices) -> dict[str, dict[str, float]]:
    """Measures each backbone alone on the test slices."""
    return {
        name: {
            "accuracy": metrics.accuracy(values, slices.labels),
            "top3": metrics.top_accuracy(values, slices.labels),
            "macro_f1": metrics.macro_f1(values, slices.labels),
        }
        for name, values in logits.items()
    }
