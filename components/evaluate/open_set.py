"""Whether a slice is of a species that the model never saw.

Scores of several kinds, from the votes and from the embeddings, are compared on validation slices and on the same
slices with their halves swapped: those keep a specimen's material and outline but have no species' anatomy. No
unknown species takes part. The one that tells the two apart best is used, alone or as the sum of two, since no score is
best on every network (Yang et al. 2022, OpenOOD). Higher is stranger.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlogy
from sklearn.covariance import ledoit_wolf

from components.evaluate.ensemble.calibration import Ensemble
from components.evaluate.predictions import Prediction
from components.shared import metrics
from components.shared.metrics import Labels

FLAGGED_SHARE = 0.05
"""Share of the validation slices above the threshold; it leaves room for test specimens that are a little stranger."""

_BLOCK = 2048
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Surroundings:
    """Where the training slices lie in a member's embedding, its rows scaled to length one.

    Attributes:
        bank: training slices, float32 [B, D].
        whitening: makes the scatter within species a unit ball, float32 [D, D].
        centres: mean of each species after whitening, float32 [K, D].
    """

    bank: NDArray[np.float32]
    whitening: NDArray[np.float32]
    centres: NDArray[np.float32]

    @classmethod
    def of(cls, embedding: NDArray[np.float32], labels: Labels) -> "Surroundings":
        """Describes training slices: embedding float32 [B, D], labels int64 [B]."""
        bank = unit_rows(embedding.astype(np.float64))
        species, owner = np.unique(labels, return_inverse=True)
        centres = np.stack([bank[owner == number].mean(axis=0) for number in range(len(species))])
        scatter, _ = ledoit_wolf(bank - centres[owner], assume_centered=True)
        smallest = 1e-9 * max(np.trace(scatter) / len(scatter), 1e-12)
        whitening = np.linalg.cholesky(np.linalg.inv(scatter + smallest * np.eye(len(scatter))))
        return cls(*(array.astype(np.float32) for array in (bank, whitening, centres @ whitening)))


@dataclass(frozen=True)
class Answers:
    """What an ensemble says about N slices.

    Attributes:
        shares: combined votes before the temperature, float64 [N, K].
        logits: float32 [N, K] of each of its members.
        embeddings: float32 [N, D] of each of its members.
    """

    shares: Values
    logits: Sequence[NDArray[np.float32]]
    embeddings: Sequence[NDArray[np.float32]]


Score = Callable[[Answers, Sequence[Surroundings]], Values]


def unit_rows(embedding: NDArray[Any]) -> NDArray[Any]:
    """Scales rows [N, D] to length one; a row of zeros stays."""
    return np.asarray(embedding / np.maximum(np.linalg.norm(embedding, axis=1, keepdims=True), 1e-12))


def doubt(answers: Answers, _: Sequence[Surroundings]) -> Values:
    """One minus the largest share (Hendrycks and Gimpel 2017)."""
    return 1 - answers.shares.max(axis=1)


def entropy(answers: Answers, _: Sequence[Surroundings]) -> Values:
    """The shares' entropy, nats."""
    return np.asarray(-xlogy(answers.shares, answers.shares).sum(axis=1))


def energy(answers: Answers, _: Sequence[Surroundings]) -> Values:
    """Minus the log-sum-exp of the logits, mean over the members (Liu et al. 2020)."""
    return -np.mean([logsumexp(logits.astype(np.float64), axis=1) for logits in answers.logits], axis=0)


def solitude(answers: Answers, surroundings: Sequence[Surroundings]) -> Values:
    """One minus the cosine to the nearest training slice, mean over the members (Sun et al. 2022)."""
    pairs = zip(answers.embeddings, surroundings, strict=True)
    found = [1 - (unit_rows(e) @ s.bank.T).max(axis=1) for e, s in pairs]
    return np.asarray(np.mean(found, axis=0, dtype=np.float64))


def distance(answers: Answers, surroundings: Sequence[Surroundings]) -> Values:
    """Squared Mahalanobis distance to the nearest species, mean over the members (Lee et al. 2018)."""
    found = [
        _nearest_square(unit_rows(e) @ s.whitening, s.centres)
        for e, s in zip(answers.embeddings, surroundings, strict=True)
    ]
    return np.asarray(np.mean(found, axis=0, dtype=np.float64))


def _nearest_square(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Returns the smallest squared distance of points [N, D] to centres [K, D]."""
    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)
    return np.asarray(squares.min(axis=1))


SCORES: dict[str, Score] = {
    "doubt": doubt,
    "entropy": entropy,
    "energy": energy,
    "solitude": solitude,
    "distance": distance,
}
_FROM_VOTES = frozenset({"doubt", "entropy", "energy"})


@dataclass(frozen=True)
class Part:
    """One score on a common scale: 0 at the validation slices' median, 1 at their 95th percentile.

    Attributes:
        name: a key of SCORES.
        middle: the median.
        span: from the median to the 95th percentile.
    """

    name: str
    middle: float
    span: float


@dataclass(frozen=True)
class UnknownScore:
    """How strange a slice is, and from where on it is called unknown.

    Attributes:
        parts: their sum is the score.
        threshold: a slice above it is unknown.
        surroundings: of each member of the ensemble, in its order.
        separation: area under the ROC curve of validation slices against themselves with halves swapped, for each
            combination that was tried.
    """

    parts: tuple[Part, ...]
    threshold: float
    surroundings: tuple[Surroundings, ...]
    separation: Mapping[str, float]

    @property
    def words(self) -> str:
        """The score in words."""
        return " + ".join(part.name for part in self.parts)

    def of(self, ensemble: Ensemble, predictions: Mapping[str, Prediction]) -> Values:
        """Scores the slices of a split, float64 [N], a block at a time, since embeddings lie in files."""
        return np.concatenate([self.of_answers(answers) for answers in answers_of(ensemble, predictions)])

    def of_answers(self, answers: Answers) -> Values:
        """Scores slices, float64 [N]."""
        return _sum_of_parts(self.parts, {p.name: SCORES[p.name](answers, self.surroundings) for p in self.parts})


def answers_of(ensemble: Ensemble, predictions: Mapping[str, Prediction]) -> Iterator[Answers]:
    """Yields what an ensemble says about the slices of a split in blocks, in their order."""
    slices = len(predictions[ensemble.members[0]].logits)
    for begin in range(0, slices, _BLOCK):
        yield answers_to(ensemble, predictions, slice(begin, begin + _BLOCK))


def answers_to(ensemble: Ensemble, predictions: Mapping[str, Prediction], rows: slice | NDArray[np.int64]) -> Answers:
    """Returns what an ensemble says about some slices of a split."""
    logits = {name: predictions[name].logits[rows] for name in ensemble.members}
    embeddings = [predictions[name].embedding[rows] for name in ensemble.members]
    return Answers(ensemble.rule.shares(logits), list(logits.values()), embeddings)


def fit_unknown(
    ensemble: Ensemble,
    training: Mapping[str, Prediction],
    labels: Labels,
    validation: Mapping[str, Prediction],
    swapped: Mapping[str, Prediction],
) -> UnknownScore:
    """Chooses the score and its threshold.

    Args:
        ensemble: the rule that is served.
        training: what the backbones say about some training slices.
        labels: of these training slices, int64 [B].
        validation: what they say about the validation slices.
        swapped: what they say about some validation slices with halves swapped.
    """
    surroundings = tuple(Surroundings.of(np.asarray(training[name].embedding), labels) for name in ensemble.members)
    known, strange = (_all_scores(ensemble, said, surroundings) for said in (validation, swapped))
    scale = {name: _part(name, values) for name, values in known.items()}
    options = {names: tuple(scale[name] for name in names) for names in _combinations()}
    separation = {
        names: metrics.separation(_sum_of_parts(parts, known), _sum_of_parts(parts, strange))
        for names, parts in options.items()
    }
    best = max(separation, key=lambda names: (separation[names], -len(names)))
    threshold = float(np.quantile(_sum_of_parts(options[best], known), 1 - FLAGGED_SHARE))
    tried = {" + ".join(names): area for names, area in separation.items()}
    return UnknownScore(options[best], threshold, surroundings, tried)


def _all_scores(
    ensemble: Ensemble, predictions: Mapping[str, Prediction], surroundings: Sequence[Surroundings]
) -> dict[str, Values]:
    blocks = [
        [score(answers, surroundings) for score in SCORES.values()] for answers in answers_of(ensemble, predictions)
    ]
    return dict(zip(SCORES, np.concatenate(blocks, axis=1), strict=True))


def _combinations() -> list[tuple[str, ...]]:
    """Lists single scores and the pairs in which one comes from the embeddings."""
    pairs = [pair for pair in combinations(SCORES, 2) if not _FROM_VOTES.issuperset(pair)]
    return [*((name,) for name in SCORES), *pairs]


def _part(name: str, values: Values) -> Part:
    middle, high = np.quantile(values, (0.5, 1 - FLAGGED_SHARE))
    return Part(name, float(middle), float(high - middle) or 1.0)


def _sum_of_parts(parts: Sequence[Part], scores: Mapping[str, Values]) -> Values:
    return np.asarray(np.sum([(scores[part.name] - part.middle) / part.span for part in parts], axis=0))
