"""How members' votes become one: the ensemble rules, as data that NumPy and TensorFlow both read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

Logits = NDArray[np.float32]
Shares = NDArray[np.float64]


@dataclass(frozen=True)
class SoftVote:
    """The weighted mean of the members' probabilities.

    One member of weight one is the best single; equal weights are a mean of the best.

    Attributes:
        weights: share of each member's vote, by backbone; they sum to one, and members without a vote are left out.
    """

    weights: Mapping[str, float]

    @property
    def members(self) -> tuple[str, ...]:
        """The backbones that it asks, in the order of their embeddings."""
        return tuple(self.weights)

    @property
    def leader(self) -> str:
        """The member with the largest share of the vote, the first of several."""
        return max(self.weights, key=lambda name: self.weights[name])

    @property
    def complexity(self) -> tuple[int, int]:
        """How many members there are, and how many numbers were fitted."""
        equal = len(set(self.weights.values())) == 1
        return len(self.weights), 0 if equal else len(self.weights) - 1

    def words(self, classes: Sequence[str]) -> str:  # noqa: ARG002 the species do not matter to this rule
        """The rule in words."""
        names = list(self.weights)
        if len(names) == 1:
            return f"best single: {names[0]}"
        if self.complexity[1] == 0:
            return f"mean of the best {len(names)}: {' + '.join(names)}"
        return f"soft vote: {' + '.join(f'{weight:.2f} {name}' for name, weight in self.weights.items())}"

    def shares(self, logits: Mapping[str, Logits]) -> Shares:
        """Combines members' logits [N, K] into float64 [N, K] that sum to one."""
        return np.asarray(np.sum([weight * probabilities(logits[name]) for name, weight in self.weights.items()], 0))


@dataclass(frozen=True)
class ConfidenceSwitch:
    """The published rule (arXiv 2512.00912): a main model answers, another mends its weak species.

    Where the main model says a weak species and the patch model is more confident, the patch model is believed.

    Attributes:
        main: the backbone that answers.
        patch: the backbone that mends.
        weak: labels of the species in which the main model is weak.
    """

    main: str
    patch: str
    weak: tuple[int, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """The backbones that it asks, in the order of their embeddings."""
        return self.main, self.patch

    @property
    def leader(self) -> str:
        """The member that answers most slices."""
        return self.main

    @property
    def complexity(self) -> tuple[int, int]:
        """How many members there are, and how many numbers were fitted."""
        return 2, len(self.weak)

    def words(self, classes: Sequence[str]) -> str:
        """The rule in words."""
        weak = " or ".join(classes[label] for label in self.weak)
        return f"confidence switch: {self.main}, but {self.patch} where {self.main} says {weak} with less confidence"

    def shares(self, logits: Mapping[str, Logits]) -> Shares:
        """Combines members' logits [N, K] into float64 [N, K] that sum to one."""
        main, patch = probabilities(logits[self.main]), probabilities(logits[self.patch])
        switched = np.isin(main.argmax(axis=1), self.weak) & (patch.max(axis=1) > main.max(axis=1))
        return np.where(switched[:, None], patch, main)


Rule = SoftVote | ConfidenceSwitch


def probabilities(logits: Logits) -> Shares:
    """Returns the softmax of logits [N, K] as float64."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1))
