"""Sequential test of whether a canary is worse than the stable model, on pairs of answers to the same known slice.

Each pair gives one sign per criterion: +1 if the canary did worse, -1 if the stable model did worse, 0 otherwise.

- errors: the model returned no prediction.
- agreement: the model predicted a species other than the known one. Each slice counts once, because a model repeats its
  prediction for the same slice.
- latency: the canary's time compared with the stable model's time multiplied by `slower`; half of the signs are +1 only
  when the median ratio of the times is `slower`. The sign ignores by how much a single slow answer exceeds the limit.

Rule: for a bet b in 0..1 the product of (1 + b (sign - tolerance)) over the pairs is a supermartingale while the mean
sign is at most `tolerance`; so is its average over a grid of bets. By Ville's inequality it ever exceeds 1/p with a
probability of at most p, however often it is evaluated. The canary is worse as soon as the average of one criterion,
its evidence, exceeds BOUND, the number of criteria divided by FALSE_ROLLBACKS: 3 / 0.01 = 300. An equal model is
therefore rolled back in at most 1 % of the rollouts; this bound is proved, not calibrated.

Sample size: PAIRS pairs of two requests each detect, with a probability of at least 95 %, a canary that fails in 5 % of
its requests where the stable model fails in 1 %, and a canary that predicts 90 % of the known slices correctly where
the stable model predicts 95 %, both erring independently (the hardest case). After PAIRS pairs without a violation the
canary passes. Slices are drawn at random from the known ones, so the result is valid for these; the gate measures how
well they represent new specimens.

Sources: J. Ville 1939, Etude critique de la notion de collectif; H. Robbins 1970, Ann. Math. Stat. 41:1397 (mixtures);
I. Waudby-Smith and A. Ramdas 2024, J. R. Stat. Soc. B 86:1 (bets on bounded means).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

PAIRS = 2000
FALSE_ROLLBACKS = 0.01
TOLERANCES = {"errors": 0.0, "agreement": 0.005, "latency": 0.0}
BOUND = len(TOLERANCES) / FALSE_ROLLBACKS
_BETS = np.linspace(0.05, 0.95, 10)
MAX_EXPONENT = 700.0  # float64 overflows at 709


@dataclass(frozen=True)
class ProbeAnswer:
    """Answer of a model to a known slice.

    Attributes:
        species: Predicted species, or None without a prediction.
        seconds: Response time.
        error: Reason why there is no prediction.
        model_id: Id of the model that answered; "" for a model without an id.
    """

    species: str | None
    seconds: float
    error: str = ""
    model_id: str = ""


@dataclass(frozen=True)
class Tally:
    """Number of pairs by sign.

    Attributes:
        worse: Pairs in which the canary did worse.
        better: Pairs in which the canary did better.
        alike: Pairs in which neither model did worse.
    """

    worse: int = 0
    better: int = 0
    alike: int = 0

    @property
    def pairs(self) -> int:
        """Total number of pairs."""
        return self.worse + self.better + self.alike

    def plus(self, sign: int) -> "Tally":
        """Return the tally with one more pair; `sign` is +1, -1 or 0."""
        return Tally(self.worse + (sign > 0), self.better + (sign < 0), self.alike + (sign == 0))


def evidence(worse: ArrayLike, better: ArrayLike, alike: ArrayLike, tolerance: float) -> NDArray[np.float64]:
    """Return the evidence that a canary is worse, given its tallies; above BOUND it is worse.

    Args:
        worse: Number of pairs in which the canary did worse [...], of any shape.
        better: Number of pairs in which the canary did better [...].
        alike: Number of pairs in which neither model did worse [...].
        tolerance: Mean sign that an acceptable canary may have.

    Returns:
        Evidence, float64 [...], at least 0 and 1 before the first pair.
    """
    counts = np.stack([np.asarray(count, np.float64) for count in (worse, better, alike)], axis=-1)
    gains = np.log1p(np.outer((1.0 - tolerance, -1.0 - tolerance, -tolerance), _BETS))
    return np.asarray(np.exp(np.minimum(counts @ gains, MAX_EXPONENT)).mean(axis=-1))


@dataclass
class SequentialTest:
    """Test that is updated pair by pair.

    Attributes:
        slower: Maximum ratio of the canary's latency to the stable model's.
        tallies: Tally of each criterion.
    """

    slower: float
    tallies: dict[str, Tally] = field(default_factory=lambda: dict.fromkeys(TOLERANCES, Tally()))

    def add(self, stable: ProbeAnswer, canary: ProbeAnswer, species: str | None) -> None:
        """Add a pair of answers.

        Args:
            stable: Answer of the stable model.
            canary: Answer of the canary.
            species: Known species of the slice; None if the slice was counted before.
        """
        self._count("errors", (canary.species is None) - (stable.species is None))
        if stable.species is None or canary.species is None:
            return
        self._count("latency", 1 if canary.seconds > self.slower * stable.seconds else -1)
        if species is not None:
            self._count("agreement", (stable.species == species) - (canary.species == species))

    def evidence_of(self, criterion: str) -> float:
        """Return the evidence that the canary is worse in one criterion."""
        tally = self.tallies[criterion]
        return float(evidence(tally.worse, tally.better, tally.alike, TOLERANCES[criterion]))

    def violations(self) -> list[str]:
        """Return one sentence for each criterion in which the canary is worse."""
        return [
            f"{criterion}: the canary did worse in {tally.worse} and better in {tally.better} of {tally.pairs} pairs "
            f"(evidence {self.evidence_of(criterion):.3g}, at most {BOUND:g})"
            for criterion, tally in self.tallies.items()
            if self.evidence_of(criterion) > BOUND
        ]

    def _count(self, criterion: str, sign: int) -> None:
        self.tallies[criterion] = self.tallies[criterion].plus(sign)
