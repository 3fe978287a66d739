"""Open-set scores of slices: higher for slices less like the training data.

The served model computes them in TensorFlow: a new score also needs its form in `components.evaluate.export.tf_rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, xlogy

from components.evaluate.open_set.banks import FeatureBank, nearest_square, unit_rows

Values = NDArray[np.float64]


@dataclass(frozen=True)
class EnsembleOutputs:
    """Outputs of an ensemble and its members for N slices.

    Attributes:
        probabilities: Combined probabilities before the temperature, float64 [N, K].
        logits: Logits of each member, float32 [N, K].
        embeddings: Embeddings of each member, float32 [N, D].
        layers: Statistics of the last layers of each member, float32 [N, 2 * C]; its embedding if it has none.
    """

    probabilities: Values
    logits: Sequence[NDArray[np.float32]]
    embeddings: Sequence[NDArray[np.float32]]
    layers: Sequence[Sequence[NDArray[np.float32]]]


ScoreFunction = Callable[[EnsembleOutputs, Sequence[FeatureBank]], Values]


def max_softmax(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return one minus the largest probability (Hendrycks and Gimpel 2017)."""
    return 1 - outputs.probabilities.max(axis=1)


def entropy(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return the entropy of the probabilities in nats."""
    return np.asarray(-xlogy(outputs.probabilities, outputs.probabilities).sum(axis=1))


def energy(outputs: EnsembleOutputs, _: Sequence[FeatureBank]) -> Values:
    """Return minus the log-sum-exp of the logits, averaged over the members (Liu et al. 2020)."""
    return -np.mean([logsumexp(logits.astype(np.float64), axis=1) for logits in outputs.logits], axis=0)


def knn(outputs: EnsembleOutputs, banks: Sequence[FeatureBank]) -> Values:
    """Return one minus the cosine to the nearest training slice, averaged over the members (Sun et al. 2022)."""
    pairs = zip(outputs.embeddings, banks, strict=True)
    distances = [1 - (unit_rows(embedding) @ bank.bank.T).max(axis=1) for embedding, bank in pairs]
    return np.asarray(np.mean(distances, axis=0, dtype=np.float64))


def mahalanobis(outputs: EnsembleOutputs, banks: Sequence[FeatureBank]) -> Values:
    """Return the squared Mahalanobis distance to the nearest species, averaged over the members (Lee et al. 2018)."""
    distances = [
        nearest_square(unit_rows(embedding) @ bank.whitening_matrix, bank.centres)
        for embedding, bank in zip(outputs.embeddings, banks, strict=True)
    ]
    return np.asarray(np.mean(distances, axis=0, dtype=np.float64))


def layer_knn(outputs: EnsembleOutputs, banks: Sequence[FeatureBank]) -> Values:
    """Return the distance to the nearest training slice in the last layers, averaged over layers and members.

    It is `knn` (Sun et al. 2022) on the layers' means and deviations (Lee et al. 2018, section 2.2), whitened in place
    of scaled to unit length.
    """
    distances = [
        layer_bank.distances(statistics)
        for layers, bank in zip(outputs.layers, banks, strict=True)
        for statistics, layer_bank in zip(layers, bank.layers, strict=True)
    ]
    return np.asarray(np.mean(distances, axis=0))


SCORES: dict[str, ScoreFunction] = {
    "max_softmax": max_softmax,
    "entropy": entropy,
    "energy": energy,
    "knn": knn,
    "mahalanobis": mahalanobis,
    "layer_knn": layer_knn,
}
PAIRS = tuple(
    (votes, features) for votes in ("max_softmax", "entropy") for features in ("knn", "mahalanobis", "layer_knn")
)
"""Sums of a score of the votes and one of the features. Energy is in none: it depends on the logits' norm, and with
species held out of the training, each pair with it separated them less well than the one with the entropy."""
