"""Selection of the ensemble rule and its temperature, on validation slices only.

Every kind of rule is fitted; the simplest one within one standard error of the best is selected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from components.evaluate.ensemble.rules import (
    ConfidenceSwitch,
    Logits,
    Probabilities,
    Rule,
    SoftVote,
    member_probabilities,
)
from components.shared.metrics import Labels, Scores, Specimens

SMALLEST_PROBABILITY = 1e-7
SMALLEST_WEIGHT = 0.02
_ITERATIONS = 500


@dataclass(frozen=True)
class Ensemble:
    """A rule with a temperature.

    Attributes:
        rule: Rule that combines the members' votes.
        temperature: Divisor of the logarithm of the combined probabilities (Guo et al. 2017, after averaging).
    """

    rule: Rule
    temperature: float

    @property
    def members(self) -> tuple[str, ...]:
        """Return the backbones that vote."""
        return self.rule.members

    def scores(self, logits: Mapping[str, Logits]) -> Scores:
        """Combine the members' logits [N, K] into calibrated scores float32 [N, K] that sum to one."""
        return apply_temperature(self.rule.probabilities(logits), self.temperature)


@dataclass(frozen=True)
class Candidate:
    """A rule with its results on the validation slices.

    Attributes:
        rule: The rule.
        accuracy: Share of the validation slices that the rule classifies correctly.
        log_loss: Mean of minus the logarithm of the true species' probability.
        gap: Difference of its accuracy from that of the best candidate.
        gap_error: Standard error of `gap` over specimens.
        is_selected: Whether the rule was selected.
    """

    rule: Rule
    accuracy: float
    log_loss: float
    gap: float = 0.0
    gap_error: float = 0.0
    is_selected: bool = False


def compare_rules(logits: Mapping[str, Logits], labels: Labels, specimens: Specimens) -> list[Candidate]:
    """Fit every kind of rule and select the simplest one within one standard error of the best.

    The standard error is that of the difference from the best rule, and its unit is the specimen: slices of one
    specimen are correlated, and two rules on the same slices differ by less than each of them varies. A rule less
    accurate than the best single member is never selected.

    Args:
        logits: Logits of each backbone on the validation slices, float32 [N, K].
        labels: Labels of these slices, int64 [N].
        specimens: Specimens of these slices, [N].

    Returns:
        All candidates, the simplest first; exactly one is selected.
    """
    rules = sorted(_fit_rules(logits, labels), key=lambda rule: rule.complexity)
    probabilities = [rule.probabilities(logits) for rule in rules]
    correct = [rows.argmax(axis=1) == labels for rows in probabilities]
    losses = [_log_loss(rows, labels) for rows in probabilities]
    best = max(range(len(rules)), key=lambda number: (correct[number].mean(), -losses[number]))
    single = max(hits.mean() for rule, hits in zip(rules, correct, strict=True) if len(rule.members) == 1)
    gaps = [accuracy_gap(correct[best], hits, specimens) for hits in correct]
    simplest = next(n for n, (gap, error) in enumerate(gaps) if gap <= error and correct[n].mean() >= single)
    return [
        Candidate(rule, float(correct[n].mean()), losses[n], *gaps[n], is_selected=n == simplest)
        for n, rule in enumerate(rules)
    ]


def accuracy_gap(better: NDArray[np.bool_], worse: NDArray[np.bool_], specimens: Specimens) -> tuple[float, float]:
    """Return the difference of two accuracies on the same slices, and its standard error over specimens.

    The error is that of a ratio of sums over clusters (Cochran 1977, equation 6.13).
    """
    _, owner = np.unique(specimens, return_inverse=True)
    slices = np.bincount(owner)
    gains = np.bincount(owner, weights=better.astype(np.float64) - worse)
    gap = float(gains.sum() / slices.sum())
    if len(slices) < 2:
        return gap, 0.0
    residuals = gains - gap * slices
    return gap, float(np.sqrt(len(slices) / (len(slices) - 1) * (residuals**2).sum()) / slices.sum())


def calibrate_selected(candidates: Sequence[Candidate], logits: Mapping[str, Logits], labels: Labels) -> Ensemble:
    """Fit the temperature of the selected rule.

    Args:
        candidates: Candidates of `compare_rules` on the same slices.
        logits: Logits of each backbone on the validation slices, float32 [N, K].
        labels: Labels of the validation slices, int64 [N].
    """
    rule = next(candidate.rule for candidate in candidates if candidate.is_selected)
    return Ensemble(rule, fit_temperature(rule.probabilities(logits), labels))


def apply_temperature(probabilities: Probabilities, temperature: float) -> Scores:
    """Return softmax(log(probabilities) / temperature), float32 [N, K]."""
    logarithms = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return softmax(logarithms / temperature, axis=1).astype(np.float32)


def fit_temperature(probabilities: Probabilities, labels: Labels) -> float:
    """Return the temperature in 0.05..20 with the lowest log loss of probabilities [N, K] on labels int64 [N]."""
    logarithms = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    rows = np.arange(len(labels))
    optimum = minimize_scalar(
        lambda log_temperature: -log_softmax(logarithms / np.exp(log_temperature), axis=1)[rows, labels].mean(),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return float(np.exp(optimum.x))


def _fit_rules(logits: Mapping[str, Logits], labels: Labels) -> list[Rule]:
    """Return equal votes of the best one, two, ... members, the weighted vote and the best switch."""
    names = sorted(logits, key=lambda name: _accuracy_and_loss(logits[name], labels), reverse=True)
    rules: list[Rule] = [_equal_vote(names[:count]) for count in range(1, len(names) + 1)]
    if len(names) > 1:
        fits: list[Rule] = [_weighted_vote(logits, labels), *_best_switch(logits, labels)]
        rules += [rule for rule in fits if rule not in rules]
    return rules


def _accuracy_and_loss(logits: Logits, labels: Labels) -> tuple[float, float]:
    return float((logits.argmax(axis=1) == labels).mean()), -_log_loss(member_probabilities(logits), labels)


def _equal_vote(names: list[str]) -> SoftVote:
    return SoftVote({name: 1 / len(names) for name in names})


def _weighted_vote(logits: Mapping[str, Logits], labels: Labels) -> SoftVote:
    """Return the weights of lowest log loss on the simplex.

    The loss is convex in the weights, and expectation maximisation for the weights of a mixture (Dempster et al.
    1977) reaches its minimum for any number of members; the size of a grid would grow exponentially with this number.
    Weights below SMALLEST_WEIGHT are set to zero.
    """
    names, rows = list(logits), np.arange(len(labels))
    true_probabilities = np.stack([member_probabilities(logits[name])[rows, labels] for name in names], axis=1)
    true_probabilities = np.maximum(true_probabilities, SMALLEST_PROBABILITY)
    weights = np.full(len(names), 1 / len(names))
    for _ in range(_ITERATIONS):
        terms = true_probabilities * weights
        weights = (terms / terms.sum(axis=1, keepdims=True)).mean(axis=0)
    weights = np.where(weights < SMALLEST_WEIGHT, 0.0, weights)
    weights /= weights.sum()
    return SoftVote({name: float(weight) for name, weight in zip(names, weights, strict=True) if weight})


def _best_switch(logits: Mapping[str, Logits], labels: Labels) -> list[ConfidenceSwitch]:
    """Return a list of the switch that classifies most slices correctly; an empty list if no switch improves a network.

    The gain from treating a species as weak does not depend on the other species, since the main network predicts one
    species for each slice; the best set is therefore that of all species with a gain.
    """
    probabilities = {name: member_probabilities(values) for name, values in logits.items()}
    options: list[tuple[float, ConfidenceSwitch]] = []
    for main, patch in permutations(probabilities, 2):
        gains = _switch_gains(probabilities[main], probabilities[patch], labels)
        weak = tuple(np.flatnonzero(gains > 0).tolist())
        correct = (probabilities[main].argmax(axis=1) == labels).sum() + gains[list(weak)].sum()
        options += [(float(correct), ConfidenceSwitch(main, patch, weak))] if weak else []
    best = max((correct for correct, _ in options), default=0.0)
    return [rule for correct, rule in options if correct == best][:1]


def _switch_gains(main: Probabilities, patch: Probabilities, labels: Labels) -> NDArray[np.float64]:
    """Return how many more slices are correct if the main network is weak in each species, float64 [K]."""
    answers = main.argmax(axis=1)
    less_confident = patch.max(axis=1) > main.max(axis=1)
    gains = (patch.argmax(axis=1) == labels).astype(np.float64) - (answers == labels)
    return np.bincount(answers[less_confident], weights=gains[less_confident], minlength=main.shape[1]).astype(
        np.float64
    )


def _log_loss(probabilities: Probabilities, labels: Labels) -> float:
    true_probabilities = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true_probabilities, SMALLEST_PROBABILITY)).mean())
