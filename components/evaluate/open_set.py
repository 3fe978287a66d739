"""Open-set recognition: the score that flags slices of species outside the training data.

Several scores, of the votes and of the embeddings, are compared on validation slices and on the same slices with their
halves swapped: these keep a specimen's material and outline but have no species' anatomy. No unseen species is used.
The score that separates the two best is selected, alone or as the sum of two, since no score is best on every network
(Yang et al. 2022, OpenOOD). All scores are higher for slices less like the training data.
The served model computes them in TensorFlow: a new score also needs its form in `components.evaluate.export.tf_rules`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlogy
from sklearn.covariance import ledoit_wolf

from components.evaluate.ensemble.selection import Ensemble
from components.evaluate.predictions import MemberPrediction
from components.shared import metrics
from components.shared.metrics import Labels

FLAGGED_SHARE = 0.05
"""Share of the validation slices above the threshold, which leaves room for less typical test specimens."""

SMALLEST_NORM = 1e-12
_BLOCK = 2048
Values = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureBank:
    """Embeddings of training slices of one member, scaled to unit length.

    Attributes:
        bank: Embeddings of the training slices, float32 [B, D].
        whitening_matrix: Matrix that makes the scatter within species a unit ball, float32 [D, D].
        centres: Mean of each species after whitening, float32 [K, D].
    """

    bank: NDArray[np.float32]
    whitening_matrix: NDArray[np.float32]
    centres: NDArray[np.float32]

    @classmethod
    def fit(cls, embedding: NDArray[np.float32], labels: Labels) -> "FeatureBank":
        """Return the bank of training slices with embeddings float32 [B, D] and labels int64 [B]."""
        bank = unit_rows(embedding.astype(np.float64))
        species, owner = np.unique(labels, return_inverse=True)
        centres = np.stack([bank[owner == number].mean(axis=0) for number in range(len(species))])
        scatter, _ = ledoit_wolf(bank - centres[owner], assume_centered=True)
        ridge = 1e-9 * max(np.trace(scatter) / len(scatter), 1e-12)
        matrix = np.linalg.cholesky(np.linalg.inv(scatter + ridge * np.eye(len(scatter))))
        return cls(*(array.astype(np.float32) for array in (bank, matrix, centres @ matrix)))


@dataclass(frozen=True)
class EnsembleOutputs:
    """Outputs of an ensemble and its members for N slices.

    Attributes:
        probabilities: Combined probabilities before the temperature, float64 [N, K].
        logits: Logits of each member, float32 [N, K].
        embeddings: Embeddings of each member, float32 [N, D].
    """

    probabilities: Values
    logits: Sequence[NDArray[np.float32]]
    embeddings: Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class GreyViews:
    """Predictions for grey views of slices in colour, by backbone.

    Attributes:
        training: Predictions for the grey views of the same sample of training slices.
        validation: Predictions for the grey views of the validation slices.
    """

    training: Mapping[str, MemberPrediction]
    validation: Mapping[str, MemberPrediction]


ScoreFunction = Callable[[EnsembleOutputs, Sequence[FeatureBank]], Values]


def unit_rows(embedding: NDArray[Any]) -> NDArray[Any]:
    """Scale the rows of a matrix [N, D] to unit length; rows of zeros stay zero."""
    return np.asarray(embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), SMALLEST_NORM))


def max_softmax(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return one minus the largest probability (Hendrycks and Gimpel 2017)."""
    return 1 - outputs.probabilities.max(axis=1)


def entropy(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return the entropy of the probabilities in nats."""
    return np.asarray(-xlogy(outputs.probabilities, outputs.probabilities).sum(axis=1))


def energy(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return minus the log-sum-exp of the logits, averaged over the members (Liu et al. 2020)."""
    return -np.mean([logsumexp(logits.astype(np.float64), axis=1) for logits in outputs.logits], axis=0)


def knn(outputs: EnsembleOutputs, banks: Sequence[FeatureBank]) -> Values:
    """Return one minus the cosine to the nearest training slice, averaged over the members (Sun et al. 2022)."""
    pairs = zip(outputs.embeddings, banks, strict=True)
    distances = [1 - (unit_rows(embedding) @ bank.bank.T).max(axis=1) for embedding, bank in pairs]
    return np.asarray(np.mean(distances, axis=0, dtype=np.float64))


def mahalanobis(outputs: EnsembleOutputs, banks: Sequence[FeatureBank]) -> Values:
    """Return the squared Mahalanobis distance to the nearest species, averaged over the members (Lee et al. 2018)."""
    distances = [
        _nearest_square(unit_rows(embedding) @ bank.whitening_matrix, bank.centres)
        for embedding, bank in zip(outputs.embeddings, banks, strict=True)
    ]
    return np.asarray(np.mean(distances, axis=0, dtype=np.float64))


def _nearest_square(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Return the smallest squared distance of points [N, D] to centres [K, D]."""
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(squares.min(axis=1))


SCORES: dict[str, ScoreFunction] = {
    "max_softmax": max_softmax,
    "entropy": entropy,
    "energy": energy,
    "knn": knn,
    "mahalanobis": mahalanobis,
}
_FROM_VOTES = frozenset({"max_softmax", "entropy", "energy"})


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
        separation: Area under the ROC curve of validation slices against the same slices with swapped halves, for
            each combination of scores that was compared.
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
    return EnsembleOutputs(ensemble.rule.probabilities(logits), list(logits.values()), embeddings)


def fit_open_set_score(
    ensemble: Ensemble,
    training: Mapping[str, MemberPrediction],
    labels: Labels,
    validation: Mapping[str, MemberPrediction],
    swapped_halves: Mapping[str, MemberPrediction],
    grey_views: GreyViews | None = None,
) -> OpenSetScore:
    """Select the score and fit its threshold.

    Args:
        ensemble: Rule and temperature that are served.
        training: Predictions for a sample of the training slices, by backbone.
        labels: Labels of these training slices, int64 [B].
        validation: Predictions for the validation slices, by backbone.
        swapped_halves: Predictions for a sample of the validation slices with swapped halves, by backbone.
        grey_views: Predictions for grey views, which are known then; None if the members were not trained on them.
    """
    known_training = [training, grey_views.training] if grey_views else [training]
    known_validation = [validation, grey_views.validation] if grey_views else [validation]
    bank_labels = np.tile(labels, len(known_training))
    banks = tuple(FeatureBank.fit(_embeddings(known_training, name), bank_labels) for name in ensemble.members)
    validation_scores = _scores_of_samples(ensemble, known_validation, banks)
    swapped_scores = _all_scores(ensemble, swapped_halves, banks)
    scales = {name: _scale(name, values) for name, values in validation_scores.items()}
    options = {names: tuple(scales[name] for name in names) for names in _combinations()}
    separation = {
        names: metrics.separation(_sum_of_terms(terms, validation_scores), _sum_of_terms(terms, swapped_scores))
        for names, terms in options.items()
    }
    best = max(separation, key=lambda names: (separation[names], -len(names)))
    threshold = float(np.quantile(_sum_of_terms(options[best], validation_scores), 1 - FLAGGED_SHARE))
    separation_by_name = {" + ".join(names): area for names, area in separation.items()}
    return OpenSetScore(options[best], threshold, banks, separation_by_name)


def _embeddings(samples: Sequence[Mapping[str, MemberPrediction]], name: str) -> NDArray[np.float32]:
    return np.concatenate([np.asarray(predictions[name].embedding) for predictions in samples])


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


def _combinations() -> list[tuple[str, ...]]:
    """Return single scores and the pairs with at least one score of the embeddings."""
    pairs = [pair for pair in combinations(SCORES, 2) if not _FROM_VOTES.issuperset(pair)]
    return [*((name,) for name in SCORES), *pairs]


def _scale(name: str, values: Values) -> ScaledScore:
    median, high = np.quantile(values, (0.5, 1 - FLAGGED_SHARE))
    return ScaledScore(name, float(median), float(high - median) or 1.0)


def _sum_of_terms(terms: Sequence[ScaledScore], scores: Mapping[str, Values]) -> Values:
    return np.asarray(np.sum([(scores[term.name] - term.median) / term.span for term in terms], axis=0))
