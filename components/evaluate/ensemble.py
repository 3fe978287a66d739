"""The ensemble rule and its calibration, chosen on validation slices only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from components.shared.metrics import Labels, Scores, accuracy

Logits = NDArray[np.float32]
SMALLEST_SHARE = 1e-7
FLAGGED_SHARE = 0.05
_WEIGHT_STEPS = 4


@dataclass(frozen=True)
class Ensemble:
    """A weighted soft vote with a temperature.

    Attributes:
        weights: share of each member's vote, by backbone; they sum to one, and members without a vote are left out.
        temperature: divides the logarithm of the averaged votes (Guo et al. 2017, after averaging).
        unknown_below: confidence under which a slice is called unknown.
    """

    weights: Mapping[str, float]
    temperature: float
    unknown_below: float

    @property
    def rule(self) -> str:
        """The rule in words."""
        if len(self.weights) == 1:
            return f"best single: {next(iter(self.weights))}"
        votes = " + ".join(f"{weight:.2f} {name}" for name, weight in self.weights.items())
        return f"soft vote: {votes}"

    def scores(self, logits: Mapping[str, Logits]) -> Scores:
        """Combines members' logits [N, K] into calibrated scores float32 [N, K] that sum to one."""
        return calibrated(vote(self.weights, logits), self.temperature)


def vote(weights: Mapping[str, float], logits: Mapping[str, Logits]) -> NDArray[np.float64]:
    """Returns the weighted mean of the members' probabilities, float64 [N, K]."""
    members = [weight * softmax(logits[name].astype(np.float64), axis=1) for name, weight in weights.items()]
    return np.asarray(np.sum(members, axis=0))


def calibrated(shares: NDArray[np.float64], temperature: float) -> Scores:
    """Applies a temperature to averaged probabilities: softmax(log(shares) / temperature), float32 [N, K]."""
    return softmax(np.log(np.maximum(shares, SMALLEST_SHARE)) / temperature, axis=1).astype(np.float32)


def choose_ensemble(logits: Mapping[str, Logits], labels: Labels) -> Ensemble:
    """Chooses weights by validation accuracy, then log loss, then simplicity; then temperature and threshold.

    Args:
        logits: of each backbone on the validation slices, float32 [N, K].
        labels: of the validation slices, int64 [N].
    """
    names = list(logits)
    candidates = sorted(_simplex(len(names), _WEIGHT_STEPS), key=np.count_nonzero)
    options = [{name: share for name, share in zip(names, point, strict=True) if share} for point in candidates]
    best = min(options, key=lambda weights: _badness(vote(weights, logits), labels))
    temperature = fit_temperature(vote(best, logits), labels)
    confidence = calibrated(vote(best, logits), temperature).max(axis=1)
    return Ensemble(best, temperature, float(np.quantile(confidence, FLAGGED_SHARE)))


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


def _badness(shares: NDArray[np.float64], labels: Labels) -> tuple[float, float]:
    right = np.maximum(shares[np.arange(len(labels)), labels], SMALLEST_SHARE)
    return -accuracy(shares.astype(np.float32), labels), float(-np.log(right).mean())


def _simplex(members: int, steps: int) -> Sequence[tuple[float, ...]]:
    """Lists the points of the simplex whose coordinates are multiples of 1 / steps."""
    if members == 1:
        return [(1.0,)]
    grid = np.stack(np.meshgrid(*[np.arange(steps + 1)] * members, indexing="ij"), axis=-1).reshape(-1, members)
    return [tuple(float(share) / steps for share in point) for point in grid if point.sum() == steps]
