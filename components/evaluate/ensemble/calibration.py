"""The ensemble: a rule and its calibration, chosen on validation slices only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from components.evaluate.ensemble.rules import Logits, Rule
from components.evaluate.ensemble.selection import SMALLEST_SHARE, Candidate
from components.shared.metrics import Labels, Scores


@dataclass(frozen=True)
class Ensemble:
    """A rule with a temperature.

    Attributes:
        rule: how members' votes become one.
        temperature: divides the logarithm of the combined votes (Guo et al. 2017, after averaging).
    """

    rule: Rule
    temperature: float

    @property
    def members(self) -> tuple[str, ...]:
        """The backbones that have a vote."""
        return self.rule.members

    def scores(self, logits: Mapping[str, Logits]) -> Scores:
        """Combines members' logits [N, K] into calibrated scores float32 [N, K] that sum to one."""
        return calibrated(self.rule.shares(logits), self.temperature)


def calibrated(shares: NDArray[np.float64], temperature: float) -> Scores:
    """Applies a temperature to combined probabilities: softmax(log(shares) / temperature), float32 [N, K]."""
    return softmax(np.log(np.maximum(shares, SMALLEST_SHARE)) / temperature, axis=1).astype(np.float32)


def choose_ensemble(candidates: Sequence[Candidate], logits: Mapping[str, Logits], labels: Labels) -> Ensemble:
    """Takes the chosen rule and fits its temperature.

    Args:
        candidates: of `compare_rules` on the same slices.
        logits: of each backbone on the validation slices, float32 [N, K].
        labels: of the validation slices, int64 [N].
    """
    rule = next(candidate.rule for candidate in candidates if candidate.chosen)
    return Ensemble(rule, fit_temperature(rule.shares(logits), labels))


def fit_temperature(shares: NDArray[np.float64], labels: Labels) -> float:
    """Finds the temperature in 0.05..20 with the lowest log loss of shares float64 [N, K] on labels int64 [N]."""
    logarithms = np.log(np.maximum(shares, SMALLEST_SHARE))
    rows = np.arange(len(labels))
    found = minimize_scalar(
        lambda logarithm: -log_softmax(logarithms / np.exp(logarithm), axis=1)[rows, labels].mean(),
        bounds=(np.log(0.05), np.log(20)),
        method="bounded",
    )
    return float(np.exp(found.x))
