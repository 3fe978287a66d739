"""Which rule: every kind is fitted on validation slices; the simplest that is about as good as the best is taken."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from components.evaluate.ensemble.rules import ConfidenceSwitch, Logits, Rule, SoftVote, probabilities
from components.shared.metrics import Labels, Specimens

SMALLEST_SHARE = 1e-7
SMALLEST_WEIGHT = 0.02
_ROUNDS = 500


@dataclass(frozen=True)
class Candidate:
    """A rule and how it does on the validation slices.

    Attributes:
        rule: the rule.
        accuracy: share of the validation slices that it names right.
        log_loss: mean of minus the logarithm of the true species' share.
        behind: how much less accurate it is than the best candidate.
        error: standard error of `behind` over specimens.
        chosen: whether it was taken.
    """

    rule: Rule
    accuracy: float
    log_loss: float
    behind: float = 0.0
    error: float = 0.0
    chosen: bool = False


def compare_rules(logits: Mapping[str, Logits], labels: Labels, specimens: Specimens) -> list[Candidate]:
    """Fits every kind of rule and chooses the simplest within one standard error of the best.

    The standard error is that of the difference from the best rule, and its unit is the specimen: slices of one
    specimen stand or fall together, and two rules on the same slices differ by less than each varies. A rule less
    accurate than the best single member is not taken.

    Args:
        logits: of each backbone on the validation slices, float32 [N, K].
        labels: int64 [N].
        specimens: [N].

    Returns:
        All candidates, the simplest first; one is chosen.
    """
    rules = sorted(_fitted_rules(logits, labels), key=lambda rule: rule.complexity)
    shares = [rule.shares(logits) for rule in rules]
    right = [share.argmax(axis=1) == labels for share in shares]
    losses = [_log_loss(share, labels) for share in shares]
    best = max(range(len(rules)), key=lambda number: (right[number].mean(), -losses[number]))
    single = max(hits.mean() for rule, hits in zip(rules, right, strict=True) if len(rule.members) == 1)
    gaps = [specimen_gap(right[best], hits, specimens) for hits in right]
    taken = next(n for n, (gap, error) in enumerate(gaps) if gap <= error and right[n].mean() >= single)
    return [
        Candidate(rule, float(right[n].mean()), losses[n], *gaps[n], chosen=n == taken) for n, rule in enumerate(rules)
    ]


def specimen_gap(better: NDArray[np.bool_], worse: NDArray[np.bool_], specimens: Specimens) -> tuple[float, float]:
    """Returns the difference of two accuracies on the same slices, and its standard error over specimens.

    The error is that of a ratio of sums over clusters (Cochran 1977, equation 6.13).
    """
    _, owner = np.unique(specimens, return_inverse=True)
    slices = np.bincount(owner)
    gained = np.bincount(owner, weights=better.astype(np.float64) - worse)
    gap = float(gained.sum() / slices.sum())
    if len(slices) < 2:
        return gap, 0.0
    rest = gained - gap * slices
    return gap, float(np.sqrt(len(slices) / (len(slices) - 1) * (rest**2).sum()) / slices.sum())


def _fitted_rules(logits: Mapping[str, Logits], labels: Labels) -> list[Rule]:
    ranked = sorted(logits, key=lambda name: _merit(logits[name], labels), reverse=True)
    rules: list[Rule] = [_equal_vote(ranked[:count]) for count in range(1, len(ranked) + 1)]
    if len(ranked) > 1:
        fitted: list[Rule] = [_weighted_vote(logits, labels), *_best_switch(logits, labels)]
        rules += [rule for rule in fitted if rule not in rules]
    return rules


def _merit(logits: Logits, labels: Labels) -> tuple[float, float]:
    return float((logits.argmax(axis=1) == labels).mean()), -_log_loss(probabilities(logits), labels)


def _equal_vote(names: list[str]) -> SoftVote:
    return SoftVote({name: 1 / len(names) for name in names})


def _weighted_vote(logits: Mapping[str, Logits], labels: Labels) -> SoftVote:
    """Finds the weights of lowest log loss on the simplex.

    The loss is convex in the weights, and expectation maximisation for the weights of a mixture (Dempster et al.
    1977) reaches its minimum for any number of members, where a grid would explode. Small weights are dropped.
    """
    names, rows = list(logits), np.arange(len(labels))
    true_shares = np.stack([probabilities(logits[name])[rows, labels] for name in names], axis=1)
    true_shares = np.maximum(true_shares, SMALLEST_SHARE)
    weights = np.full(len(names), 1 / len(names))
    for _ in range(_ROUNDS):
        parts = true_shares * weights
        weights = (parts / parts.sum(axis=1, keepdims=True)).mean(axis=0)
    weights = np.where(weights < SMALLEST_WEIGHT, 0.0, weights)
    weights /= weights.sum()
    return SoftVote({name: float(weight) for name, weight in zip(names, weights, strict=True) if weight})


def _best_switch(logits: Mapping[str, Logits], labels: Labels) -> list[ConfidenceSwitch]:
    """Finds the main model, the patch model and the weak species that name most slices right; none if no pair gains.

    What a species gains by being weak does not depend on the others, since the main model says one species of each
    slice: so the best set is that of all species that gain.
    """
    found = {name: probabilities(values) for name, values in logits.items()}
    options: list[tuple[float, ConfidenceSwitch]] = []
    for main, patch in permutations(found, 2):
        gains = _gains_of_switching(found[main], found[patch], labels)
        weak = tuple(np.flatnonzero(gains > 0).tolist())
        right = (found[main].argmax(axis=1) == labels).sum() + gains[list(weak)].sum()
        options += [(float(right), ConfidenceSwitch(main, patch, weak))] if weak else []
    best = max((right for right, _ in options), default=0.0)
    return [rule for right, rule in options if right == best][:1]


def _gains_of_switching(main: NDArray[np.float64], patch: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """Returns for each species how many more slices are right if the main model is weak in it, float64 [K]."""
    said = main.argmax(axis=1)
    surer = patch.max(axis=1) > main.max(axis=1)
    gained = (patch.argmax(axis=1) == labels).astype(np.float64) - (said == labels)
    return np.bincount(said[surer], weights=gained[surer], minlength=main.shape[1]).astype(np.float64)


def _log_loss(shares: NDArray[np.float64], labels: Labels) -> float:
    return float(-np.log(np.maximum(shares[np.arange(len(labels)), labels], SMALLEST_SHARE)).mean())
