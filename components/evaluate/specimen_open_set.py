"""Open-set recognition by specimen: the slices' scores are aggregated, and a threshold of its own flags the specimen.

The aggregation is selected on validation specimens and on synthetic unknown specimens, outliers made of their slices;
no unseen species is used. Specimens of few slices vary more than specimens of many, so there is a threshold for
1, 2, 4, 8, ... slices, from random subsets of the validation specimens' slices. A threshold is a quantile of the values
of the validation specimens with one further specimen of infinite value (split conformal prediction, Vovk et al. 2005),
where a specimen counts with the distribution of its subsets (Dunn, Wasserman and Ramdas 2023, two-layer hierarchical
models). Since a further known specimen is exchangeable with them, at most UNKNOWN_SHARE of such specimens are flagged
in expectation, whatever their distribution; with fewer than 19 validation specimens, one in their number plus one.
From two slices on, the threshold is the upper confidence limit of this quantile. For one slice it is this quantile, at
least the slice's own threshold, so that a specimen of one slice is flagged only if the slice is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from components.shared import metrics
from components.shared.contracts.specimen_threshold import AGGREGATIONS, UNKNOWN_SHARE, SpecimenThreshold
from components.shared.metrics import Specimens

DRAWS, RESAMPLES = 32, 200
"""Number of random subsets of each specimen's slices for each number of slices, and of bootstrap samples."""

CONFIDENCE = 0.9
"""Confidence that no more than UNKNOWN_SHARE of the known specimens are flagged."""

TIE = 0.001
"""Largest difference of the separation from the best for which a simpler aggregation is selected."""

PARTS = 10
"""Number of parts in which the validation specimens are scored by thresholds that were fitted on the others."""

_SEED = 0
Values = NDArray[np.float64]


@dataclass(frozen=True)
class SlicesOfSpecimens:
    """Open-set scores of slices with their specimens.

    Attributes:
        scores: Score of each slice, float64 [N].
        specimens: Specimen of each slice, [N].
    """

    scores: Values
    specimens: Specimens

    def groups(self) -> list[Values]:
        """Return the scores of each specimen in the order of their names."""
        order = np.argsort(self.specimens, kind="stable")
        _, first = np.unique(self.specimens[order], return_index=True)
        return np.split(self.scores[order], first[1:])


@dataclass(frozen=True)
class SpecimenSelection:
    """The selected aggregation with its thresholds.

    Attributes:
        threshold: Aggregation and thresholds, as the model card contains them.
        separation: Area under the ROC curve of validation specimens against synthetic unknown ones, the mean over the
            numbers of slices, for each aggregation that was compared.
    """

    threshold: SpecimenThreshold
    separation: Mapping[str, float]

    def score(self, slices: SlicesOfSpecimens) -> Values:
        """Return the open-set score of each specimen in the order of their names, float64 [specimens]."""
        return np.array([self.threshold.score(group) for group in slices.groups()])

    def cross_fit(self, validation: SlicesOfSpecimens) -> Values:
        """Return the open-set scores of the validation specimens by thresholds that were fitted without them.

        Args:
            validation: Validation slices, on which the thresholds were fitted.

        Returns:
            Score of each specimen in the order of their names, float64 [specimens]; a single specimen has the score of
            `score`.
        """
        groups = validation.groups()
        if len(groups) < 2:
            return self.score(validation)
        scores = np.empty(len(groups))
        for part in np.array_split(np.random.default_rng(_SEED).permutation(len(groups)), min(PARTS, len(groups))):
            others = [group for number, group in enumerate(groups) if number not in set(part.tolist())]
            threshold = _fit_thresholds(self.threshold, [others])
            scores[part] = [threshold.score(groups[number]) for number in part]
        return scores


@dataclass(frozen=True)
class SpecimenResult:
    """Open-set scores of specimens, above 0 for a specimen that is flagged as unknown.

    Attributes:
        threshold: Aggregation and thresholds.
        known_scores: Score of each specimen of a known species, float64 [specimens].
        unseen_scores: Score of each specimen of a species outside the model, float64 [U]; empty without such species.
        species: Unseen species of each of these specimens, [U].
    """

    threshold: SpecimenThreshold
    known_scores: Values
    unseen_scores: Values = field(default_factory=lambda: np.empty(0))
    species: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, dtype=str))

    def with_unseen(self, slices: SlicesOfSpecimens, species: NDArray[np.str_]) -> "SpecimenResult":
        """Return the result with unseen species, given their slices with the species of each slice, [N]."""
        _, first = np.unique(slices.specimens, return_index=True)
        scores = SpecimenSelection(self.threshold, {}).score(slices)
        return replace(self, unseen_scores=scores, species=species[first])

    def by_species(self) -> dict[str, tuple[int, float]]:
        """Return the number of specimens of each unseen species and the share of them that is flagged."""
        groups = {str(name): self.unseen_scores[self.species == name] for name in np.unique(self.species)}
        return {name: (len(scores), float((scores > 0).mean())) for name, scores in groups.items()}

    def scores(self) -> dict[str, float | int | None]:
        """Return the fields of `ModelScore` that concern unseen specimens."""
        has_unseen = len(self.unseen_scores) > 0
        area = metrics.separation(self.known_scores, self.unseen_scores) if has_unseen else None
        return {
            "unknown_specimen_auroc": area,
            "unknown_specimens": len(self.unseen_scores),
            "unknown_specimens_flagged_known": float((self.known_scores > 0).mean()),
            "unknown_specimens_flagged_unseen": float((self.unseen_scores > 0).mean()) if has_unseen else None,
        }


def fit_specimen_threshold(
    known_views: Sequence[SlicesOfSpecimens], unknown: SlicesOfSpecimens, slice_threshold: float
) -> SpecimenSelection:
    """Select the aggregation and fit its thresholds.

    Args:
        known_views: Validation slices, and other views of the same slices that are known, too.
        unknown: Synthetic unknown slices of the validation specimens.
        slice_threshold: Score above which a slice is flagged as unknown.
    """
    scores = np.concatenate([slices.scores for slices in known_views])
    settings = _settings(scores, unknown.scores, slice_threshold)
    known_groups, unknown_groups = [slices.groups() for slices in known_views], unknown.groups()
    counts = _slice_counts(known_groups[0])
    candidates = {name: SpecimenThreshold(aggregation=name, **settings) for name in AGGREGATIONS}
    separation = {
        name: _separation(candidate, known_groups[0], unknown_groups, counts) for name, candidate in candidates.items()
    }
    best = max(separation.values())
    choice = next(candidates[name] for name, area in separation.items() if area >= best - TIE)
    return SpecimenSelection(_fit_thresholds(choice, known_groups), separation)


def _settings(known_scores: Values, unknown_scores: Values, slice_threshold: float) -> dict[str, object]:
    """Return the fields of a SpecimenThreshold that do not depend on the aggregation, with an open threshold."""
    scale = slice_threshold - float(np.median(known_scores))
    return {
        "level": slice_threshold,
        "scale": scale if scale > 0 else 1.0,
        "lowest": float(known_scores.min()),
        "highest": float(max(known_scores.max(), unknown_scores.max(), slice_threshold)),
        "slices": (1,),
        "thresholds": (0.0,),
        "specimens": 1,
        "flagged_known": 1.0,
    }


def _slice_counts(groups: Sequence[Values]) -> list[int]:
    """Return 1, 2, 4, 8, ... as far as half of the specimens, and at least 19 or all, have that number of slices."""
    sizes = np.array([len(group) for group in groups])
    fewest = max(len(groups) / 2, min(len(groups), _fewest_specimens()))
    powers = (2**exponent for exponent in range(int(sizes.max()).bit_length()))
    return [count for count in powers if count == 1 or (sizes >= count).sum() >= fewest]


def _fewest_specimens() -> int:
    """Return the number of specimens with which UNKNOWN_SHARE can be promised."""
    return math.ceil(1 / UNKNOWN_SHARE) - 1


def _draw(candidate: SpecimenThreshold, groups: Sequence[Values], count: int) -> Values:
    """Return the aggregates of random subsets of `count` slices, float64 [large enough specimens, DRAWS]."""
    generator = np.random.default_rng((_SEED, count))
    subsets = [
        group[np.argsort(generator.random((DRAWS, len(group))), axis=1)[:, :count]]
        for group in groups
        if len(group) >= count
    ]
    return np.stack([candidate.aggregate(subset) for subset in subsets])


def _separation(
    candidate: SpecimenThreshold,
    known_groups: Sequence[Values],
    unknown_groups: Sequence[Values],
    counts: Sequence[int],
) -> float:
    """Return the mean separation over the numbers of slices that some synthetic unknown specimen has."""
    most = max(len(group) for group in unknown_groups)
    areas = [
        metrics.separation(
            _draw(candidate, known_groups, count).ravel(), _draw(candidate, unknown_groups, count).ravel()
        )
        for count in counts
        if count <= most
    ]
    return float(np.mean(areas))


def _fit_thresholds(aggregation: SpecimenThreshold, views: Sequence[Sequence[Values]]) -> SpecimenThreshold:
    """Return the aggregation with a threshold for each number of slices; `views` has the specimens of each view."""
    counts = _slice_counts(views[0])
    draws = [np.concatenate([_draw(aggregation, view, count) for view in views], axis=1) for count in counts]
    single = max(float(aggregation.aggregate([aggregation.level])), conformal_quantile(draws[0]))
    thresholds = [single, *(tolerance_limit(values) for values in draws[1:])]
    specimens = min(len(values) for values in draws)
    update = {
        "slices": tuple(counts),
        "thresholds": tuple(thresholds),
        "specimens": specimens,
        "flagged_known": max(UNKNOWN_SHARE, 1 / (specimens + 1)),
    }
    return SpecimenThreshold.model_validate(aggregation.model_dump() | update)


def conformal_quantile(values: Values) -> float:
    """Return the value above which at most UNKNOWN_SHARE of further known specimens lie in expectation.

    Args:
        values: Values of each specimen's subsets, float64 [M, draws].

    Returns:
        The smallest value that 95 % of M + 1 specimens do not exceed, of which one is above all; the largest value if M
        is too small for that.
    """
    return float(_weighted_quantiles(values, np.ones((1, len(values)), np.int64))[0])


def tolerance_limit(values: Values) -> float:
    """Return the upper confidence limit of the conformal quantile from a bootstrap of specimens (Efron 1979).

    Args:
        values: Values of each specimen's subsets, float64 [M, draws].
    """
    counts = np.random.default_rng(_SEED).multinomial(len(values), np.full(len(values), 1 / len(values)), RESAMPLES)
    limit = np.quantile(_weighted_quantiles(values, counts), CONFIDENCE, method="higher")
    return max(conformal_quantile(values), float(limit))


def _weighted_quantiles(values: Values, counts: NDArray[np.int64]) -> Values:
    """Return the conformal quantile of each sample of M specimens, given how often it contains each, int64 [S, M]."""
    specimens, draws = values.shape
    order = np.argsort(values, axis=None, kind="stable")
    ranks = np.cumsum(counts[:, order // draws], axis=1)
    rank = math.ceil((1 - UNKNOWN_SHARE) * (specimens + 1) * draws - 1e-9)
    positions = (ranks < min(rank, specimens * draws)).sum(axis=1)
    return np.asarray(values.ravel()[order[positions]])
