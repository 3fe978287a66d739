"""The scores of a model on its test slices, as the model card and the evaluation's report contain them.

The test slices are those of the test split, which the served model answers; or, where the data set has folds, those of
every specimen, each answered by a model that was trained without its fold (cross-validation, Stone 1974).
"""

from typing import Any

from components.shared.config import Frozen

_NAMES_OF_0_1_0 = {"doubt": "max_softmax", "solitude": "knn", "distance": "mahalanobis"}


class SpeciesScore(Frozen):
    """Scores of a served model on the test slices of one species.

    Attributes:
        precision: Share of the slices classified as this species that belong to it, 0..1; 0 if there are none.
        recall: Share of the species' slices that are classified as this species, 0..1; None without test slices.
        f1: Harmonic mean of precision and recall, 0..1; None without test slices.
        slices: Number of test slices of the species.
        specimens: Number of test specimens of the species.
        specimens_correct: Number of these specimens classified correctly by the vote of their slices; None in cards of
            schema taxonflow.served-model/1.
        confused_with: Most frequent wrong prediction for its slices; empty if there is none.
        confused_slices: Number of its slices with this prediction.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    slices: int
    specimens: int
    specimens_correct: int | None = None
    confused_with: str = ""
    confused_slices: int = 0


class BackboneScore(Frozen):
    """Scores of one backbone on the test slices.

    Attributes:
        accuracy: Share of the slices classified correctly, 0..1.
        top3: Share of the slices whose species is among the three highest scores, 0..1.
        macro_f1: Unweighted mean of the F1 of the species, 0..1.
        accuracy_interval: 95 % interval of the accuracy over specimens; None in older cards.
    """

    accuracy: float
    top3: float
    macro_f1: float
    accuracy_interval: tuple[float, float] | None = None


class FoldsScore(Frozen):
    """Scores of cross-validation, in which the model of each fold is tested on the specimens of this fold.

    Attributes:
        count: Number of folds.
        accuracy: Share of the slices classified correctly, over all folds, 0..1.
        macro_f1: Unweighted mean of the F1 of the species, from the slices of all folds, 0..1.
        interval: 95 % interval of the accuracy over specimens.
        accuracy_by_fold: Accuracy on the slices of each fold.
        validation_specimens: Number of known specimens on which the served model was not trained.
        untested_specimens: Number of known specimens that no fold tests: those of rare species, and near-copies with
            contradictory species.
    """

    count: int
    accuracy: float
    macro_f1: float
    interval: tuple[float, float]
    accuracy_by_fold: tuple[float, ...]
    validation_specimens: int
    untested_specimens: int = 0

    def describe(self, specimens: int) -> str:
        """Return a sentence on the models that were tested.

        Args:
            specimens: Number of specimens that were tested.
        """
        untested = (
            "outside the folds and always trained on (rare species, near-copies with contradictory species): "
            f"{self.untested_specimens:,}; "
        )
        return (
            f"The figures are those of {self.count} models, each tested on specimens it was not trained on, "
            f"{specimens:,} in all; {untested * bool(self.untested_specimens)}the served model is trained on all "
            f"specimens but {self.validation_specimens:,} validation ones."
        )


class ModelScore(BackboneScore):
    """Scores of a served model on the test slices, all from one confusion matrix and one table of scores.

    The open-set scores are those of the served model in any case.

    Attributes:
        accuracy_interval: 95 % interval of the accuracy over specimens.
        macro_f1_interval: 95 % interval of the macro F1 over specimens.
        macro_precision: Unweighted mean of the precision of the species.
        macro_recall: Unweighted mean of the recall of the species.
        weighted_precision: Mean of the precision of the species, weighted by their slices.
        weighted_recall: Mean of the recall of the species, weighted by their slices.
        weighted_f1: Mean of the F1 of the species, weighted by their slices.
        auc: Macro one-versus-rest area under the ROC curve; None unless every species has test slices.
        ece: Expected calibration error over 15 bins of confidence, 0..1.
        brier: Brier score, 0..2.
        specimens: Number of test specimens.
        specimen_accuracy: Share of the specimens classified correctly by the vote of their slices.
        specimen_accuracy_lower: One-sided exact 95 % lower bound of `specimen_accuracy`.
        specimens_needed: Number of further specimens, all classified correctly, with which this bound would reach the
            gate's threshold; None if it never would.
        species: Scores by species, in the order of the labels.
        unknown_auroc: Area under the ROC curve of known against unseen species; None without unseen species.
        unknown_auroc_by_species: The same for each unseen species.
        unknown_flagged_by_species: Share of the slices of each unseen species that are flagged as unknown.
        unknown_flagged_known: Share of the slices of known species that are flagged as unknown, test slices or, with
            folds, validation slices.
        unknown_flagged_unseen: Share of the slices of unseen species that are flagged; None without unseen species.
        unknown_score: Names of the open-set scores in use, joined by " + ".
        folds: Scores of cross-validation; None if the served model itself was tested on a test split.
        unknown_specimen_auroc: Area under the ROC curve of specimens of known against those of unseen species; None
            without unseen species.
        unknown_specimens: Number of specimens of unseen species.
        unknown_specimens_flagged_known: Share of the specimens of known species that are flagged as unknown, test
            specimens or, with folds, validation specimens by thresholds that were fitted on the others.
        unknown_specimens_flagged_unseen: Share of the specimens of unseen species that are flagged; None without them.
    """

    accuracy_interval: tuple[float, float]
    macro_f1_interval: tuple[float, float]
    macro_precision: float
    macro_recall: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    auc: float | None
    ece: float
    brier: float
    specimens: int
    specimen_accuracy: float
    specimen_accuracy_lower: float
    specimens_needed: int | None
    species: dict[str, SpeciesScore]
    unknown_auroc: float | None
    unknown_auroc_by_species: dict[str, float]
    unknown_flagged_by_species: dict[str, float]
    unknown_flagged_known: float
    unknown_flagged_unseen: float | None
    unknown_score: str
    folds: FoldsScore | None = None
    unknown_specimen_auroc: float | None = None
    unknown_specimens: int = 0
    unknown_specimens_flagged_known: float | None = None
    unknown_specimens_flagged_unseen: float | None = None

    def numbers(self) -> dict[str, float]:
        """Return the metrics that are fractions, and the ends of their intervals, by name."""
        intervals = {"accuracy": self.accuracy_interval, "macro_f1": self.macro_f1_interval}
        return {
            **{name: value for name, value in self if isinstance(value, float)},
            **{f"{name}_lower": low for name, (low, _) in intervals.items()},
            **{f"{name}_upper": high for name, (_, high) in intervals.items()},
        }


def upgrade_card_of_0_1_0(card: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a model card of Taxonflow 0.1.0 with today's names of the open-set scores.

    Args:
        card: Fields of the card as read from JSON; the validation of the card reports missing and wrong ones.
    """
    metrics = card.get("metrics")
    if not isinstance(metrics, dict) or not isinstance(metrics.get("unknown_score"), str):
        return card
    names = [_NAMES_OF_0_1_0.get(name, name) for name in metrics["unknown_score"].split(" + ")]
    return {**card, "metrics": {**metrics, "unknown_score": " + ".join(names)}}
