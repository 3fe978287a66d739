"""Measurement of answers for test slices; nothing is selected or fitted with them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from components.evaluate.answers import ENSEMBLE, HeldOut, MeasuredAnswers
from components.evaluate.model_selection import EvaluationSource, Selection
from components.evaluate.predictions import SplitSlices
from components.evaluate.specimen_open_set import SlicesOfSpecimens, SpecimenResult
from components.evaluate.statistics import (
    Comparison,
    ConfusionMatrices,
    Interval,
    compare_models,
    confusion_by_specimen,
    metric_interval,
    vote_by_specimen,
)
from components.shared import metrics
from components.shared.contracts.model_score import BackboneScore, FoldsScore, ModelScore, SpeciesScore
from components.shared.metrics import CALIBRATION_BINS, Labels, Scores
from components.shared.slices import UNSEEN, read_index

_CURVE_POINTS = 200
Values = NDArray[np.float64]
ConfusionMatrix = NDArray[np.int64]


@dataclass(frozen=True)
class ModelResult:
    """Results of one model, the ensemble or a backbone, on the test slices.

    Attributes:
        name: Name of the backbone, or ENSEMBLE.
        score: Scores of the model.
        recall: Recall of each species, float64 [K]; NaN for a species without test slices.
        milliseconds: Time of its networks for one slice in this evaluation.
    """

    name: str
    score: BackboneScore
    recall: Values
    milliseconds: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Test slices with similar confidence.

    Attributes:
        low: Lower limit of the confidence.
        high: Upper limit of the confidence.
        slices: Number of slices in the bin.
        confidence: Mean confidence of these slices.
        accuracy: Share of these slices that are classified correctly.
    """

    low: float
    high: float
    slices: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class OpenSetResult:
    """Open-set scores of slices of known and of unseen species, all of the served model.

    Attributes:
        name: Names of the open-set scores in use.
        threshold: Score above which a slice is flagged as unknown.
        known_scores: Score of each held-out slice of known species, float64 [N].
        unseen_scores: Score of each slice of species outside the model, float64 [M]; empty where the data set has none.
        species: Unseen species of each of these slices, [M].
        specimens: Open-set scores of the same slices' specimens; None if they were not measured.
    """

    name: str
    threshold: float
    known_scores: Values
    unseen_scores: Values = field(default_factory=lambda: np.empty(0))
    species: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=str))
    specimens: SpecimenResult | None = None

    def scores(self) -> dict[str, Any]:
        """Return the fields of `ModelScore` that concern unseen species."""
        by_species = {str(name): self.unseen_scores[self.species == name] for name in np.unique(self.species)}
        return {
            "unknown_auroc": metrics.separation(self.known_scores, self.unseen_scores)
            if len(self.unseen_scores)
            else None,
            "unknown_auroc_by_species": {
                name: metrics.separation(self.known_scores, values) for name, values in by_species.items()
            },
            "unknown_flagged_by_species": {name: self._flagged_share(values) for name, values in by_species.items()},
            "unknown_flagged_known": self._flagged_share(self.known_scores),
            "unknown_flagged_unseen": self._flagged_share(self.unseen_scores) if len(self.unseen_scores) else None,
            "unknown_score": self.name,
            **(self.specimens.scores() if self.specimens else {}),
        }

    def specimens_by_species(self) -> dict[str, tuple[int, float]]:
        """Return the number of specimens of each unseen species and the share of them that is flagged, NaN for none."""
        if self.specimens is None:
            return dict.fromkeys(map(str, np.unique(self.species)), (0, float("nan")))
        return self.specimens.by_species()

    def curve(self) -> tuple[Values, Values]:
        """Return the shares of known and of unseen slices above thresholds, ascending, at most 200 of each."""
        truth = np.repeat((0, 1), (len(self.known_scores), len(self.unseen_scores)))
        known_shares, unseen_shares, _ = roc_curve(truth, np.concatenate([self.known_scores, self.unseen_scores]))
        points = np.unique(np.linspace(0, len(known_shares) - 1, _CURVE_POINTS).astype(int))
        return known_shares[points], unseen_shares[points]

    def _flagged_share(self, values: Values) -> float:
        return float((values > self.threshold).mean())


@dataclass(frozen=True)
class ModelMeasurement:
    """All results on the test slices.

    Attributes:
        scores: Scores of the ensemble, float32 [N, K].
        confusion: Confusion matrix of the ensemble, int64 [K, K]; rows are true species, columns predicted species.
        score: Metrics of the ensemble, as the model card and the report contain them.
        models: Results of the ensemble and then of each backbone.
        reliability: Bins of confidence with at least one slice.
        comparisons: Paired tests between every two models.
        open_set: Open-set scores of known and unseen species.
        answers: Test slices with the answers that were measured.
    """

    scores: Scores
    confusion: ConfusionMatrix
    score: ModelScore
    models: tuple[ModelResult, ...]
    reliability: tuple[ReliabilityBin, ...]
    comparisons: tuple[Comparison, ...]
    open_set: OpenSetResult
    answers: MeasuredAnswers

    @property
    def slices(self) -> SplitSlices:
        """Ids, labels and specimens of the test slices."""
        return self.answers.slices

    @property
    def backbones(self) -> dict[str, BackboneScore]:
        """Return the scores of each backbone alone, by name."""
        return {model.name: model.score for model in self.models[1:]}


def measure_open_set(source: EvaluationSource, selection: Selection, held_out: HeldOut) -> OpenSetResult:
    """Return the open-set scores of the served model on known species and, if the data set has any, on unseen ones.

    Args:
        source: Data set and members.
        selection: Ensemble and open-set score that were selected on validation slices.
        held_out: Slices of known species.
    """
    score, ensemble = selection.open_set, selection.ensemble
    known_scores = score.score_split(ensemble, held_out.outputs.predictions)
    specimens = _score_known_specimens(selection, held_out, known_scores)
    if all(count.split != UNSEEN for count in source.info.counts):
        return OpenSetResult(score.describe(), score.threshold, known_scores, specimens=specimens)
    split = source.predict(UNSEEN)
    unseen = score.score_split(ensemble, split.predictions)
    species = np.asarray(read_index(source.folder, UNSEEN, ("species",))["species"], dtype=str)
    specimens = specimens.with_unseen(SlicesOfSpecimens(unseen, split.slices.specimens), species)
    return OpenSetResult(score.describe(), score.threshold, known_scores, unseen, species, specimens)


def _score_known_specimens(selection: Selection, held_out: HeldOut, scores: Values) -> SpecimenResult:
    """Return the scores of the held-out specimens; none of them is scored by thresholds that were fitted on it."""
    slices, specimen_score = SlicesOfSpecimens(scores, held_out.slices.specimens), selection.specimen_open_set
    known_scores = specimen_score.cross_fit(slices) if held_out.split == "validation" else specimen_score.score(slices)
    return SpecimenResult(specimen_score.threshold, known_scores)


def measure(
    answers: MeasuredAnswers,
    classes: Sequence[str],
    open_set: OpenSetResult,
    target_accuracy: float,
    seed: int,
    validation_specimens: int = 0,
) -> ModelMeasurement:
    """Compute all results from answers for test slices.

    Args:
        answers: Test slices with the answers of the ensemble and of every backbone.
        classes: Species in the order of the scores.
        open_set: Open-set scores of known and unseen species.
        target_accuracy: Accuracy by specimen that the lower bound is compared with.
        seed: Seed of the permutations of the paired tests.
        validation_specimens: Number of validation specimens of the served model; read for cross-validation only.
    """
    slices, scores = answers.slices, answers.scores
    answers_by_model = {ENSEMBLE: scores, **answers.logits}
    matrices = confusion_by_specimen(scores, slices.labels, slices.specimens)
    score = _model_score(answers, classes, matrices, open_set, target_accuracy, validation_specimens)
    correct = {name: values.argmax(axis=1) == slices.labels for name, values in answers_by_model.items()}
    return ModelMeasurement(
        scores=scores,
        confusion=matrices.sum(axis=0),
        score=score,
        models=(
            _model_result(ENSEMBLE, score, matrices, answers),
            *(_measure_backbone(name, answers) for name in answers.logits),
        ),
        reliability=reliability(scores, slices.labels),
        comparisons=tuple(compare_models(correct, slices.specimens, seed)),
        open_set=open_set,
        answers=answers,
    )


def _measure_backbone(name: str, answers: MeasuredAnswers) -> ModelResult:
    logits, slices = answers.logits[name], answers.slices
    matrices = confusion_by_specimen(logits, slices.labels, slices.specimens)
    confusion = matrices.sum(axis=0)
    score = BackboneScore(
        accuracy=metrics.accuracy(confusion),
        top3=metrics.top_accuracy(logits, slices.labels),
        macro_f1=metrics.macro_f1(confusion),
        accuracy_interval=metric_interval(metrics.accuracy, matrices),
    )
    return _model_result(name, score, matrices, answers)


def _model_result(
    name: str, score: BackboneScore, matrices: ConfusionMatrices, answers: MeasuredAnswers
) -> ModelResult:
    recall = metrics.species_table(matrices.sum(axis=0))["recall"]
    return ModelResult(name, score, recall, answers.milliseconds[name])


def _model_score(
    answers: MeasuredAnswers,
    classes: Sequence[str],
    matrices: ConfusionMatrices,
    open_set: OpenSetResult,
    target_accuracy: float,
    validation_specimens: int,
) -> ModelScore:
    confusion, scores, slices = matrices.sum(axis=0), answers.scores, answers.slices
    accuracy_interval = metric_interval(metrics.accuracy, matrices)
    vote = vote_by_specimen(metrics.correct_specimens(scores, slices.labels, slices.specimens), target_accuracy)
    return ModelScore(
        accuracy=metrics.accuracy(confusion),
        accuracy_interval=accuracy_interval,
        top3=metrics.top_accuracy(scores, slices.labels),
        **metrics.averages(confusion),
        macro_f1_interval=metric_interval(metrics.macro_f1, matrices),
        auc=metrics.area_under_curve(scores, slices.labels),
        ece=metrics.calibration_error(scores, slices.labels),
        brier=metrics.brier_score(scores, slices.labels),
        specimens=vote.specimens,
        specimen_accuracy=vote.correct / vote.specimens,
        specimen_accuracy_lower=vote.lower,
        specimens_needed=vote.further_specimens,
        species=_species_scores(confusion, scores, slices, classes),
        **open_set.scores(),
        folds=_folds_score(answers, confusion, accuracy_interval, validation_specimens),
    )


def _folds_score(
    answers: MeasuredAnswers, confusion: ConfusionMatrix, interval: Interval, validation_specimens: int
) -> FoldsScore | None:
    """Return the scores of cross-validation; None if the served model itself answered."""
    if not answers.folds:
        return None
    correct = answers.scores.argmax(axis=1) == answers.slices.labels
    return FoldsScore(
        count=len(answers.folds),
        accuracy=metrics.accuracy(confusion),
        macro_f1=metrics.macro_f1(confusion),
        interval=interval,
        accuracy_by_fold=tuple(float(correct[fold.rows].mean()) for fold in answers.folds),
        validation_specimens=validation_specimens,
        untested_specimens=answers.untested_specimens,
    )


def _species_scores(
    confusion: ConfusionMatrix, scores: Scores, slices: SplitSlices, classes: Sequence[str]
) -> dict[str, SpeciesScore]:
    columns = metrics.species_table(confusion)
    by_specimen = metrics.confusion(*metrics.votes_of_specimens(scores, slices.labels, slices.specimens))
    mistakes = confusion - np.diag(np.diag(confusion))
    return {
        name: SpeciesScore(
            **{key: float(values[label]) if np.isfinite(values[label]) else None for key, values in columns.items()},
            slices=int(confusion[label].sum()),
            specimens=len(np.unique(slices.specimens[slices.labels == label])),
            specimens_correct=int(by_specimen[label, label]),
            confused_with=classes[int(mistakes[label].argmax())] if mistakes[label].any() else "",
            confused_slices=int(mistakes[label].max()),
        )
        for label, name in enumerate(classes)
    }


def reliability(scores: Scores, labels: Labels) -> tuple[ReliabilityBin, ...]:
    """Group slices by confidence in the bins of the calibration error (Guo et al. 2017, figure 1); omit empty bins.

    Args:
        scores: Scores of the ensemble, float32 [N, K].
        labels: Labels of the slices, int64 [N].
    """
    confidence = scores.max(axis=1).astype(np.float64)
    correct, bins = scores.argmax(axis=1) == labels, metrics.confidence_bins(scores)
    return tuple(
        ReliabilityBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            slices=int((bins == number).sum()),
            confidence=float(confidence[bins == number].mean()),
            accuracy=float(correct[bins == number].mean()),
        )
        for number in np.unique(bins).tolist()
    )
