"""The ensemble rules, evaluated here with NumPy and in `components.evaluate.export.tf_rules` with TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

Logits = NDArray[np.float32]
Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class SoftVote:
    """Weighted mean of the members' probabilities.

    One member of weight one is the best single network; equal weights are the mean of the best.

    Attributes:
        weights: Weight of each member's vote by backbone. They sum to one; backbones without a vote are left out.
    """

    weights: Mapping[str, float]

    @property
    def members(self) -> tuple[str, ...]:
        """Return the backbones that vote, in the order of their embeddings."""
        return tuple(self.weights)

    @property
    def leader(self) -> str:
        """Member with the largest weight, the first one if several have it."""
        return max(self.weights, key=lambda name: self.weights[name])

    @property
    def complexity(self) -> tuple[int, int]:
        """Number of members and number of fitted parameters."""
        equal = len(set(self.weights.values())) == 1
        return len(self.weights), 0 if equal else len(self.weights) - 1

    def describe(self, classes: Sequence[str]) -> str:  # noqa: ARG002 this rule is the same for all species
        """Return the rule as text."""
        names = list(self.weights)
        if len(names) == 1:
            return f"best single: {names[0]}"
        if self.complexity[1] == 0:
            return f"mean of the best {len(names)}: {' + '.join(names)}"
        return f"soft vote: {' + '.join(f'{weight:.2f} {name}' for name, weight in self.weights.items())}"

    def probabilities(self, logits: Mapping[str, Logits]) -> Probabilities:
        """Combine the members' logits [N, K] into probabilities float64 [N, K]."""
        votes = [weight * member_probabilities(logits[name]) for name, weight in self.weights.items()]
        return np.asarray(np.sum(votes, 0))


@dataclass(frozen=True)
class ConfidenceSwitch:
    """Predictions of a main network, replaced in some cases by those of a second one (arXiv 2512.00912).

    The prediction of the patch network is used if the main network predicts one of its weak species, and the patch
    network has the higher confidence.

    Attributes:
        main: Backbone whose prediction is used by default.
        patch: Backbone whose prediction replaces it.
        weak: Labels of the species for which the prediction of the main network may be replaced.
    """

    main: str
    patch: str
    weak: tuple[int, ...]

    @property
    def members(self) -> tuple[str, ...]:
        """Return the backbones that vote, in the order of their embeddings."""
        return self.main, self.patch

    @property
    def leader(self) -> str:
        """Member whose prediction is used by default."""
        return self.main

    @property
    def complexity(self) -> tuple[int, int]:
        """Number of members and number of fitted parameters."""
        return 2, len(self.weak)

    def describe(self, classes: Sequence[str]) -> str:
        """Return the rule as text."""
        weak = " or ".join(classes[label] for label in self.weak)
        return f"confidence switch: {self.main}, but {self.patch} where {self.main} names {weak} with less confidence"

    def probabilities(self, logits: Mapping[str, Logits]) -> Probabilities:
        """Combine the members' logits [N, K] into probabilities float64 [N, K]."""
        main, patch = member_probabilities(logits[self.main]), member_probabilities(logits[self.patch])
        use_patch = np.isin(main.argmax(axis=1), self.weak) & (patch.max(axis=1) > main.max(axis=1))
        return np.where(use_patch[:, None], patch, main)


Rule = SoftVote | ConfidenceSwitch


def member_probabilities(logits: Logits) -> Probabilities:
    """Return the softmax of one member's logits [N, K] as float64."""
    return np.asarray(softmax(logits.astype(np.float64), axis=1))
