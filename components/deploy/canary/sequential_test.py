"""Whether a canary is worse than the stable model: a sequential test on pairs of answers to the same known slice.

Each pair gives a sign for each criterion, +1 if the canary did worse, -1 if the stable model did, 0 if both did alike:

- errors: who did not answer;
- agreement: who named another species than the known one; a slice counts once, for the same model answers it the same
  again;
- latency: the canary's time against the stable model's times `slower`, so that half of the pairs are +1 only when the
  median ratio of the times is `slower`. A sign takes no notice of how long a straggler took.

Rule. For a bet b in 0..1 the product of (1 + b (sign - tolerated)) over the pairs is a supermartingale while the mean
sign is at most `tolerated`; so is its average over the bets of a grid. By Ville's inequality it ever exceeds 1/p with a
probability of at most p, however often one looks. The canary is worse as soon as one criterion's average, its
evidence, exceeds CRITERIA/FALSE_ROLLBACKS = 300: an equal model is rolled back in at most 1 % of the roll-outs, by
proof and not by calibration.

Budget. BUDGET pairs, two requests each, are enough to catch with a probability of at least 95 % a canary that fails in
5 % of its requests where the stable model fails in 1 %, or one that names 90 % of the known slices right where the
stable model names 95 %, both erring independently, the hardest case. After them the canary is taken for as good.
Slices are drawn at random from the known ones, so the verdict is about these; how well they stand for new specimens is
the gate's question.

Sources: J. Ville 1939, Etude critique de la notion de collectif; H. Robbins 1970, Ann. Math. Stat. 41:1397 (mixtures);
I. Waudby-Smith and A. Ramdas 2024, J. R. Stat. Soc. B 86:1 (bets on bounded means).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

BUDGET = 2000
FALSE_ROLLBACKS = 0.01
TOLERATED = {"errors": 0.0, "agreement": 0.005, "latency": 0.0}
BOUND = len(TOLERATED) / FALSE_ROLLBACKS
_BETS = np.linspace(0.05, 0.95, 10)
_LARGEST_EXPONENT = 700.0  # float64 ends at 709


@dataclass(frozen=True)
class Answer:
    """What a model did with a known slice.

    Attributes:
        species: its answer, or None if it gave none.
        seconds: how long it took.
        trouble: why there is no answer.
    """

    species: str | None
    seconds: float
    trouble: str = ""


@dataclass(frozen=True)
class Tally:
    """How many pairs the canary did worse in, better in, and alike."""

    worse: int = 0
    better: int = 0
    alike: int = 0

    @property
    def pairs(self) -> int:
        """All of them."""
        return self.worse + self.better + self.alike

    def plus(self, sign: int) -> "Tally":
        """Returns the tally with a pair more; `sign` is +1, -1 or 0."""
        return Tally(self.worse + (sign > 0), self.better + (sign < 0), self.alike + (sign == 0))


def evidence(worse: ArrayLike, better: ArrayLike, alike: ArrayLike, tolerated: float) -> NDArray[np.float64]:
    """Returns how strongly tallies speak against the canary; above BOUND it is worse.

    Args:
        worse: number of pairs [...], of any shape.
        better: the same.
        alike: the same.
        tolerated: mean sign that a canary may have.

    Returns:
        float64 [...], at least 0 and 1 before the first pair.
    """
    counts = np.stack([np.asarray(count, np.float64) for count in (worse, better, alike)], axis=-1)
    gains = np.log1p(np.outer((1.0 - tolerated, -1.0 - tolerated, -tolerated), _BETS))
    return np.asarray(np.exp(np.minimum(counts @ gains, _LARGEST_EXPONENT)).mean(axis=-1))


@dataclass
class CanaryJudge:
    """Takes pairs one after the other.

    Args:
        slower: how many times the stable model's latency a canary may take.
    """

    slower: float
    tallies: dict[str, Tally] = field(default_factory=lambda: dict.fromkeys(TOLERATED, Tally()))

    def add(self, stable: Answer, canary: Answer, known: str | None) -> None:
        """Takes a pair.

        Args:
            stable: the stable model's answer.
            canary: the canary's.
            known: the species; None for a slice that was counted before.
        """
        self._count("errors", (canary.species is None) - (stable.species is None))
        if stable.species is None or canary.species is None:
            return
        self._count("latency", 1 if canary.seconds > self.slower * stable.seconds else -1)
        if known is not None:
            self._count("agreement", (stable.species == known) - (canary.species == known))

    def evidence_of(self, criterion: str) -> float:
        """Returns the evidence against the canary in one criterion."""
        tally = self.tallies[criterion]
        return float(evidence(tally.worse, tally.better, tally.alike, TOLERATED[criterion]))

    def complaints(self) -> list[str]:
        """Says in which criteria the canary is worse; none while it may be as good."""
        return [
            f"{criterion}: the canary did worse in {tally.worse} and better in {tally.better} of {tally.pairs} pairs "
            f"(evidence {self.evidence_of(criterion):.3g}, at most {BOUND:g})"
            for criterion, tally in self.tallies.items()
            if self.evidence_of(criterion) > BOUND
        ]

    def _count(self, criterion: str, sign: int) -> None:
        self.tallies[criterion] = self.tallies[criterion].plus(sign)
