"""Selection of the open-set score, which flags slices of species outside the training data.

The scores are compared on validation slices and on synthetic outliers of them
(`components.evaluate.synthetic_outliers`), since no unseen species is used. The score that separates the two best is
selected, alone or as the sum of two, since no score is best on every network (Yang et al. 2022, OpenOOD). Differences
within the standard error are left to PREFERRED.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.open_set.banks import FeatureBank
from components.evaluate.open_set.scores import PAIRS, SCORES, EnsembleOutputs, Values
from components.evaluate.predictions import MemberPrediction, SplitSlices
from components.shared import metrics
from components.shared.files.matrix import FileMatrix

FLAGGED_SHARE = 0.05
"""Share of the validation slices above the threshold, which leaves room for less typical test specimens."""

PREFERRED = ("entropy", "layer_knn")
"""Score that is selected unless another separates the outliers better by more than the standard error. It separates
species best that were held out from the training of the sample's networks."""

_BLOCK = 2048


@dataclass(frozen=True)
class GreyViews:
    """Predictions for grey views of slices in colour, by backbone.

    Attributes:
        training: Predictions for the grey views of the same sample of training slices.
        validation: Predictions for the grey views of the validation slices.
    """

    training: Mapping[str, MemberPrediction]
    validation: Mapping[str, MemberPrediction]


@dataclass(frozen=True)
class ScaledScore:
    """A score on a common scale: 0 at the validation slices' median, 1 at their 95th percentile.

    Attributes:
        name: Name of the score in SCORES.
        median: Median of the score on the validation slices.
        span: Difference of the 95th percentile from the median.
    """

    name: str
    median: float
    span: float


@dataclass(frozen=True)
class OpenSetScore:
    """The selected score with its threshold.

    Attributes:
        terms: Scaled scores; the score of a slice is their sum.
        threshold: Score above which a slice is flagged as unknown.
        banks: Feature bank of each member of the ensemble, in the members' order.
        separation: Area under the ROC curve of validation slices against synthetic outliers of them, for each
            combination of scores that was compared.
    """

    terms: tuple[ScaledScore, ...]
    threshold: float
    banks: tuple[FeatureBank, ...]
    separation: Mapping[str, float]

    def describe(self) -> str:
        """Return the names of the scores in use."""
        return " + ".join(term.name for term in self.terms)

    def score_split(self, ensemble: Ensemble, predictions: Mapping[str, MemberPrediction]) -> Values:
        """Return the score of each slice of a split, float64 [N]; embeddings are read from files in blocks."""
        return np.concatenate([self.score(outputs) for outputs in iterate_outputs(ensemble, predictions)])

    def score(self, outputs: EnsembleOutputs) -> Values:
        """Return the score of each slice, float64 [N]."""
        return _sum_of_terms(self.terms, {term.name: SCORES[term.name](outputs, self.banks) for term in self.terms})


def iterate_outputs(ensemble: Ensemble, predictions: Mapping[str, MemberPrediction]) -> Iterator[EnsembleOutputs]:
    """Yield the outputs of an ensemble for the slices of a split in blocks, in their order."""
    slices = len(predictions[ensemble.members[0]].logits)
    for begin in range(0, slices, _BLOCK):
        yield outputs_of_rows(ensemble, predictions, slice(begin, begin + _BLOCK))


def outputs_of_rows(
    ensemble: Ensemble, predictions: Mapping[str, MemberPrediction], rows: slice | NDArray[np.int64]
) -> EnsembleOutputs:
    """Return the outputs of an ensemble for some slices of a split."""
    logits = {name: predictions[name].logits[rows] for name in ensemble.members}
    embeddings = [predictions[name].embedding[rows] for name in ensemble.members]
    layers = [[statistics[rows] for statistics in _layers(predictions[name])] for name in ensemble.members]
    return EnsembleOutputs(ensemble.rule.probabilities(logits), list(logits.values()), embeddings, layers)


def _layers(prediction: MemberPrediction) -> tuple[FileMatrix, ...]:
    """Return the statistics of a member's last layers; its embedding if it has none."""
    return prediction.layers or (prediction.embedding,)


def fit_open_set_score(
    ensemble: Ensemble,
    training: Mapping[str, MemberPrediction],
    slices: SplitSlices,
    validation: Mapping[str, MemberPrediction],
    outliers: Mapping[str, MemberPrediction],
    grey_views: GreyViews | None = None,
) -> OpenSetScore:
    """Select the score and fit its threshold.

    Args:
        ensemble: Rule and temperature that are served.
        training: Predictions for a sample of the training slices, by backbone.
        slices: Labels and specimens of these training slices.
        validation: Predictions for the validation slices, by backbone.
        outliers: Predictions for synthetic outliers of a sample of the validation slices, by backbone.
        grey_views: Predictions for grey views, which are known then; None if the members were not trained on them.
    """
    known_training = [training, grey_views.training] if grey_views else [training]
    known_validation = [validation, grey_views.validation] if grey_views else [validation]
    banks = tuple(_fit_bank([sample[name] for sample in known_training], slices) for name in ensemble.members)
    validation_scores = _scores_of_samples(ensemble, known_validation, banks)
    outlier_scores = _all_scores(ensemble, outliers, banks)
    scales = {name: _scale(name, values) for name, values in validation_scores.items()}
    options = {names: tuple(scales[name] for name in names) for names in [*((name,) for name in SCORES), *PAIRS]}
    separation = {
        names: metrics.separation(_sum_of_terms(terms, validation_scores), _sum_of_terms(terms, outlier_scores))
        for names, terms in options.items()
    }
    counts = len(outlier_scores[PREFERRED[0]]), len(validation_scores[PREFERRED[0]])
    best = _select(separation, *counts)
    threshold = float(np.quantile(_sum_of_terms(options[best], validation_scores), 1 - FLAGGED_SHARE))
    separation_by_name = {" + ".join(names): area for names, area in separation.items()}
    return OpenSetScore(options[best], threshold, banks, separation_by_name)


def _select(separation: Mapping[tuple[str, ...], float], outliers: int, slices: int) -> tuple[str, ...]:
    """Return PREFERRED if it is within one standard error of the best score (Breiman et al. 1984), else the best."""
    best = max(separation, key=lambda names: (separation[names], -len(names)))
    error = area_standard_error(separation[best], outliers, slices)
    return PREFERRED if separation[best] - separation[PREFERRED] <= error else best


def area_standard_error(area: float, positives: int, negatives: int) -> float:
    """Return the standard error of an area under the ROC curve (Hanley and McNeil 1982, equation 2).

    Args:
        area: Area under the curve.
        positives: Number of outliers.
        negatives: Number of known slices.
    """
    two_positives, two_negatives = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (positives - 1) * (two_positives - area**2)
    variance += (negatives - 1) * (two_negatives - area**2)
    return float(np.sqrt(variance / (positives * negatives)))


def _fit_bank(samples: Sequence[MemberPrediction], slices: SplitSlices) -> FeatureBank:
    """Return the feature bank of a member from its predictions for samples of the same training slices."""
    embedding = np.concatenate([np.asarray(sample.embedding) for sample in samples])
    by_layer = zip(*map(_layers, samples), strict=True)
    layers = [np.concatenate([np.asarray(statistics) for statistics in matrices]) for matrices in by_layer]
    specimens = np.tile(slices.specimens, len(samples)) if samples[0].needs_spacing else None
    return FeatureBank.fit(embedding, np.tile(slices.labels, len(samples)), layers, specimens)


def _scores_of_samples(
    ensemble: Ensemble, samples: Sequence[Mapping[str, MemberPrediction]], banks: Sequence[FeatureBank]
) -> dict[str, Values]:
    scores = [_all_scores(ensemble, predictions, banks) for predictions in samples]
    return {name: np.concatenate([sample[name] for sample in scores]) for name in scores[0]}


def _all_scores(
    ensemble: Ensemble, predictions: Mapping[str, MemberPrediction], banks: Sequence[FeatureBank]
) -> dict[str, Values]:
    blocks = [
        [function(outputs, banks) for function in SCORES.values()] for outputs in iterate_outputs(ensemble, predictions)
    ]
    return dict(zip(SCORES, np.concatenate(blocks, axis=1), strict=True))


def _scale(name: str, values: Values) -> ScaledScore:
    median, high = np.quantile(values, (0.5, 1 - FLAGGED_SHARE))
    return ScaledScore(name, float(median), float(high - median) or 1.0)


def _sum_of_terms(terms: Sequence[ScaledScore], scores: Mapping[str, Values]) -> Values:
    return np.asarray(np.sum([(scores[term.name] - term.median) / term.span for term in terms], axis=0))
